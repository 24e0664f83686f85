"""Finding objects on 1080p photographs, on two cores: Ultralytics' own loop, and ours.

    python -m benchmarks.collection_inference [--pictures 48] [--batch 16] [--rounds 2]

The ways take turns in one run: compare the ratios. Both find the same (that is checked): classes,
boxes within a pixel, confidences within a thousandth. Models of the size of yolo11n stand in for
trained ones: their weights are random, with the bias of their confidences set so that they find
some objects on a picture; time depends on the size of a network, not on what it has learned.
The mussel model of the samples is trained.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Read when the libraries are loaded. The command sets the first as well; torch may use both cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "2")

import cv2
import numpy as np

from benchmarks.harness import Stopwatch, parse_arguments, print_table
from tasks.inference.detection.detection_records import from_record, to_record
from tasks.inference.detection.engine import load_model
from tasks.inference.detection.image_stream import detect_in_files
from tasks.inference.detection.thresholds import filter_by_threshold
from tasks.inference.detections import Detection, ImageDetections, InferenceSettings
from tasks.inference.model.onnx_export import load_network
from tasks.inference.model.quiet_ultralytics import import_ultralytics
from tasks.inference.model.weights import read_weights, sha256_of_weights
from tasks.inference.runs.live_dead import live_dead_classes
from tasks.inference.runs.polygon_document import polygon_document, polygon_document_bytes

MUSSELS = Path(__file__).parents[1] / "samples" / "mussels"
CONFIDENCE = 0.25
SIZE = (1920, 1080)
THREADS = 2


def make_pictures(folder: Path, count: int) -> list[Path]:
    """Write 1080p JPEGs, the sample pictures enlarged, each with a brightness of its own."""
    sources = sorted((MUSSELS / "pictures").glob("*.jpg"))
    files = []
    for number in range(count):
        picture = cv2.imread(str(sources[number % len(sources)]))
        assert picture is not None
        large = cv2.resize(picture, SIZE, interpolation=cv2.INTER_CUBIC)
        noise = np.random.default_rng(number).normal(number % 7, 3, large.shape)
        files.append(folder / f"{number:04d}.jpg")
        content = np.clip(large + noise, 0, 255).astype(np.uint8)
        cv2.imwrite(str(files[-1]), content, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return files


def make_random_model(definition: str, folder: Path, files: list[Path]) -> Path:
    """Write weights of a definition of Ultralytics, random but lively: see the module's text."""
    import torch

    ultralytics = import_ultralytics(folder / "settings")
    torch.manual_seed(0)
    model = ultralytics.YOLO(f"{definition}.yaml")
    network, head = model.model, model.model.model[-1]
    pictures = [cv2.resize(cv2.imread(str(file)), (640, 384)) for file in files[:4]]  # type: ignore[arg-type]
    batch = torch.from_numpy(np.stack(pictures)[..., ::-1].transpose(0, 3, 1, 2) / np.float32(255))
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 0.5
        network.train()
        for _ in range(5):  # statistics of the batch normalisation
            network(batch)
        network.eval()
        raw = network(batch)[1]
        scores = (raw[-1] if isinstance(raw, tuple) else raw)["scores"].amax(1)
        level = scores.topk(100, dim=1)[0][:, -1].median()
        for branch in head.cv3:
            branch[-1].bias += np.log(CONFIDENCE / (1 - CONFIDENCE)) - level
        for branch in getattr(head, "cv4", ()):  # coefficients of masks: most of a box is inside
            branch[-1].weight *= 0.2
            branch[-1].bias.copy_(torch.randn_like(branch[-1].bias).abs())
        if hasattr(head, "proto"):
            head.proto.cv3.bn.bias += 0.5
    path = folder / f"{definition}.pt"
    arguments = {"imgsz": 640, "task": network.task}
    network.args = arguments
    torch.save({"model": network.half(), "train_args": arguments}, path)
    return path


def compare_model(weights: Path, folder: Path, files: list[Path], batch: int, rounds: int) -> None:
    """Measure all ways for one model and print a table."""
    ultralytics = import_ultralytics(folder / "settings")
    description = load_network(read_weights(weights), folder)[1]
    settings = InferenceSettings(description.image_size, floor_confidence=CONFIDENCE)
    model = load_model(
        weights, sha256_of_weights(weights), settings, cache_folder=folder, threads=THREADS
    )
    theirs = ultralytics.YOLO(str(weights))
    paths = [str(file) for file in files]
    size = settings.image_size

    def predict() -> list[object]:
        stream = theirs.predict(
            paths, batch=batch, imgsz=size, conf=CONFIDENCE, stream=True, verbose=False
        )
        return [result.cpu().numpy() for result in stream]

    def ours() -> list[ImageDetections]:
        outcomes = sorted(detect_in_files(model, files, threads=THREADS), key=lambda o: o.position)
        return [outcome.detections for outcome in outcomes if outcome.detections]

    found = ours()
    check_agreement(found, predict())
    records = [to_record(entry) for entry in found]
    classes = live_dead_classes(description.class_names)

    def new_threshold() -> None:
        for record in records:
            kept = filter_by_threshold(from_record(record), 0.5)
            document = polygon_document(kept, description.class_names, classes, 0.5)
            polygon_document_bytes(document)

    watch = Stopwatch()
    for _ in range(rounds):
        watch.measure(f"model.predict(paths, batch={batch})", predict)
        watch.measure(f"ours, {model.runtime}, {THREADS} threads", ours)
        watch.measure("ours, a new threshold from kept detections", new_threshold)
    objects = sum(len(entry.detections) for entry in found) / len(found)
    title = f"{weights.stem} ({description.task}), {size} px, {objects:.0f} objects a picture"
    reference = next(iter(watch.best.values())).wall
    rows = [
        [
            way,
            f"{len(files) / times.wall:,.1f}",
            f"{times.cpu * 1000 / len(files):.2f}",
            f"{reference / times.wall:,.1f}",
        ]
        for way, times in watch.best.items()
    ]
    print_table(title, ("way", "images/s", "CPU ms/image", "as fast"), rows)


def check_agreement(found: list[ImageDetections], results: list[object]) -> None:
    """Make sure that both ways found the same on nearly all pictures.

    Random networks see many places exactly alike: there a rounding error decides which of two
    overlapping boxes stays. So one object in fifty may differ.
    """
    total = same = 0
    for ours, theirs in zip(found, results, strict=True):
        boxes = theirs.boxes  # type: ignore[attr-defined]
        total += max(len(boxes), len(ours.detections))
        left = list(ours.detections)
        for box, confidence, class_id in zip(boxes.xyxy, boxes.conf, boxes.cls, strict=True):
            partner = next((d for d in left if _is_same(d, box, confidence, class_id)), None)
            if partner is not None:
                left.remove(partner)
                same += 1
    print(f"{same} of {total} objects are the same in both")
    assert total and same >= 0.98 * total, "the ways do not find the same"


def _is_same(detection: Detection, box: object, confidence: float, class_id: float) -> bool:
    return (
        detection.class_id == int(class_id)
        and abs(detection.confidence - confidence) < 1e-3
        and float(np.abs(np.array(detection.box) - box).max()) < 1
    )


def main() -> None:
    """Print one table for each model."""
    arguments = parse_arguments(__doc__, pictures=48, batch=16, rounds=2)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="visionflows-benchmark-") as name:
        folder = Path(name)
        files = make_pictures(folder, arguments.pictures)
        models = [MUSSELS / "mussels.pt"]
        models += [make_random_model(kind, folder, files) for kind in ("yolo11n-seg", "yolo11n")]
        for weights in models:
            compare_model(weights, folder, files, arguments.batch, arguments.rounds)


if __name__ == "__main__":
    main()
