"""What runs a network: ONNX Runtime, OpenVINO or torch, each behind the same three lines.

A session may be called by several threads at a time; each call then runs on its own thread. That
uses two cores better than one call on two threads, and larger batches do not help on a CPU.
"""

from __future__ import annotations

import ast
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol, cast

import yaml

from tasks.inference.detections import FloatArray, ModelDescription, ModelError, Task, WeightsFormat
from tasks.inference.model.output_layout import is_end_to_end, values_behind
from tasks.inference.model.runtime_errors import runtime_reason
from tasks.inference.model.weights import VerifiedWeights

if TYPE_CHECKING:
    import torch

_DEFAULT_IMAGE_SIZE = 640
# OpenVINO's Python module prepares itself when a tensor is first read. Two threads that do so at
# once wait for each other for ever, one with the interpreter's lock and one for it.
_first_openvino_run = threading.Lock()
_openvino_has_run = False


class Session(Protocol):
    """A network that is ready to run."""

    runtime: str
    output_shapes: list[list[int | None]]

    def run(self, pictures: FloatArray) -> list[FloatArray]:
        """Run pictures (n, 3, rows, columns) through; each output begins with n."""
        ...


class OnnxSession:
    """A network on ONNX Runtime's CPU kernels in float32."""

    def __init__(self, content: bytes, name: str) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise _not_installed("onnxruntime", name) from error
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its errors are raised, and need not be printed as well
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own classes, without a common base
            raise ModelError(
                f"{name} is no ONNX model that can be run: {runtime_reason(error)}"
            ) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            raise ModelError(f"{name} does not take pictures as float32 (n, 3, rows, columns)")
        self._input = inputs[0].name
        self.input_shape = [size if isinstance(size, int) else None for size in inputs[0].shape]
        self.output_shapes = [
            [size if isinstance(size, int) else None for size in output.shape]
            for output in self._session.get_outputs()
        ]
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        self.runtime = f"onnxruntime {onnxruntime.__version__} fp32"

    def run(self, pictures: FloatArray) -> list[FloatArray]:
        """Run pictures (n, 3, rows, columns) through."""
        return list(self._session.run(None, {self._input: pictures}))


class OpenVinoSession:
    """A network on OpenVINO's CPU plugin, in float32 unless the model itself is quantised."""

    def __init__(self, weights: VerifiedWeights, threads: int) -> None:
        openvino = import_openvino(weights.path.name)
        contents = weights.contents
        (xml,) = (name for name in contents if name.endswith(".xml"))
        core = openvino.Core()
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": str(threads),
            "INFERENCE_NUM_THREADS": str(threads),
        }
        try:
            model = core.read_model(contents[xml], contents[f"{xml.removesuffix('.xml')}.bin"])
            self._compiled = core.compile_model(model, "CPU", options)
        except Exception as error:  # RuntimeError and its own classes
            raise ModelError(
                f"{weights.path} is no OpenVINO model that can be run: {runtime_reason(error)}"
            ) from error
        self.input_shape, *self.output_shapes = (
            [size.get_length() if size.is_static else None for size in port.partial_shape]
            if port.partial_shape.rank.is_static
            else []
            for port in (model.inputs[0], *model.outputs)
        )
        self.metadata = _yaml_metadata(contents["metadata.yaml"], weights)
        version = openvino.__version__.partition("-")[0]
        self.runtime = f"openvino {version}"
        self._of_thread = threading.local()

    def run(self, pictures: FloatArray) -> list[FloatArray]:
        """Run pictures (n, 3, rows, columns) through."""
        global _openvino_has_run
        if _openvino_has_run:
            return self._run(pictures)
        with _first_openvino_run:
            outputs = self._run(pictures)
            _openvino_has_run = True
            return outputs

    def _run(self, pictures: FloatArray) -> list[FloatArray]:
        request = getattr(self._of_thread, "request", None)
        if request is None:
            request = self._of_thread.request = self._compiled.create_infer_request()
        request.infer([pictures])
        return [tensor.data.copy() for tensor in request.output_tensors]


def import_openvino(name: str) -> Any:  # noqa: ANN401
    """Import OpenVINO without its telemetry, which would send events by itself.

    Raises:
        ModelError: it is not installed.
    """
    # None stands for a package that is missing; OpenVINO then uses an empty one of its own.
    sys.modules.setdefault("openvino_telemetry", cast(Any, None))
    try:
        import openvino
    except ImportError as error:
        raise _not_installed("openvino", name) from error
    return openvino


class TorchSession:
    """A network on torch itself: on a GPU in half precision, on a CPU in float32."""

    def __init__(self, network: torch.nn.Module, device: str) -> None:
        import torch

        self._torch = torch
        self._device = torch.device(device)
        self._half = self._device.type == "cuda"
        network = network.to(self._device)
        self._network = network.half() if self._half else network.float()
        self._lock = threading.Lock()
        self.output_shapes: list[list[int | None]] = []
        precision = "fp16" if self._half else "fp32"
        self.runtime = f"torch {torch.__version__} {precision} on {self._device}"

    def run(self, pictures: FloatArray) -> list[FloatArray]:
        """Run pictures (n, 3, rows, columns) through."""
        # The network keeps its grid of the last shape: one call at a time.
        with self._lock, self._torch.inference_mode():
            batch = self._torch.from_numpy(pictures).to(self._device)
            outputs = self._network(batch.half() if self._half else batch)
            if not isinstance(outputs, (tuple, list)):
                outputs = (outputs,)
            return [output.float().cpu().numpy() for output in outputs]


def describe_export(
    metadata: dict[str, Any],
    input_shape: list[int | None],
    output_shapes: list[list[int | None]],
    weights_format: WeightsFormat,
    name: str,
) -> ModelDescription:
    """Read what a model is from what its exporter wrote into it.

    Keys are as Ultralytics writes them, values may be text of Python literals. `input_shape` is
    number of pictures, channels, rows, columns; None where any will do. So are `output_shapes`,
    empty where nothing of them is fixed.

    Raises:
        ModelError: it has no metadata, finds no objects, has its own suppression built in, or an
            output that does not fit what it says.
    """
    values = {key: _literal(value) for key, value in metadata.items()}
    names = values.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or "task" not in values:
        raise ModelError(
            f"{name} does not say what it finds: it needs the metadata that "
            "`yolo export` writes (task and names)"
        )
    arguments = values.get("args")
    if isinstance(arguments, dict) and arguments.get("nms"):
        raise ModelError(
            f"{name} was exported with nms=True, which fixes one confidence for good: export it "
            "again without"
        )
    # Older releases write no head, but the name of the model that was trained.
    told_kind = f"{values.get('head')} {values.get('description')}".lower()
    if "rtdetr" in told_kind.replace("-", ""):
        raise ModelError(f"{name} is an RT-DETR model, which is not supported: use a YOLO model")
    if input_shape[1] not in (None, 3):
        raise ModelError(f"{name} takes {input_shape[1]} channels, not the three of RGB")
    rows, columns = input_shape[2], input_shape[3]
    fixed = (rows, columns) if rows is not None and columns is not None else None
    task, class_names = object_task(values["task"], name), class_names_of(names, name)
    told = bool(values["end2end"]) if "end2end" in values else None
    extra = values_behind(task, output_shapes, values.get("kpt_shape"))
    shape = output_shapes[0][1:] if output_shapes and output_shapes[0] else [None, None]
    try:
        end_to_end = is_end_to_end(shape, len(class_names), extra, told)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from None
    return ModelDescription(
        task=task,
        class_names=class_names,
        image_size=max(fixed) if fixed else _image_size(values.get("imgsz")),
        format=weights_format,
        fixed_shape=fixed,
        end_to_end=end_to_end,
    )


def object_task(task: object, name: str) -> Task:
    """Check that a model finds objects.

    Raises:
        ModelError: it does something else, such as classifying whole pictures.
    """
    if task not in list(Task):
        raise ModelError(
            f"{name} is a model for the task {task!r}, which finds no objects that can be counted: "
            "use one that detects, segments, or finds oriented boxes"
        )
    return Task(str(task))


def class_names_of(names: dict[Any, Any], name: str) -> tuple[str, ...]:
    """Put class names in the order of their ids.

    Raises:
        ModelError: the ids are not 0, 1, 2 and so on.
    """
    try:
        ordered = [str(names[number]) for number in range(len(names))]
    except KeyError:
        raise ModelError(f"{name} does not number its classes 0, 1, 2 and so on") from None
    return tuple(ordered)


def _image_size(value: object) -> int:
    sizes = value if isinstance(value, (list, tuple)) else [value]
    numbers = [size for size in sizes if isinstance(size, int) and size > 0]
    return max(numbers, default=_DEFAULT_IMAGE_SIZE)


def _literal(value: object) -> object:
    """Read the text of a Python literal; any other text is itself."""
    if not isinstance(value, str):
        return value
    try:
        literal: object = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return literal


def _yaml_metadata(content: bytes, weights: VerifiedWeights) -> dict[str, Any]:
    try:
        metadata = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ModelError(f"{weights.path}: metadata.yaml cannot be read: {error}") from error
    return metadata if isinstance(metadata, dict) else {}


def _not_installed(package: str, name: str) -> ModelError:
    return ModelError(
        f"{name} needs the package {package}, which is missing: "
        'pip install "visionflows[inference]"'
    )
