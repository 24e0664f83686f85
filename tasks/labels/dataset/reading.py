"""All labels of a dataset in one call, whatever its layout and its format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from tasks.labels.annotations import GeometryKind, ImageLabels
from tasks.labels.dataset.addresses import LayoutKind, Split
from tasks.labels.dataset.plan import DatasetPlan, FileReader, plan_dataset, read_bounded
from tasks.labels.formats.label_file import ImageContext, LabelFile
from tasks.labels.formats.registry import (
    FORMATS,
    LabelFormat,
    find_format,
    names_of_formats,
    read_single_shared,
)
from tasks.labels.geometry import ImageSize
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem, quoted

SizeOfImage = Callable[[PurePosixPath], ImageSize | None]


@dataclass(frozen=True)
class DatasetImage:
    """One image of a dataset.

    `split` is None where neither its folder nor data.yaml nor a list names one; `labels` where it
    has no label file (an empty file gives no entries: a background picture); `format` where it has
    no label file or one that is not recognised.
    """

    path: PurePosixPath
    split: Split | None
    labels: ImageLabels | None
    format: LabelFormat | None


@dataclass(frozen=True)
class DatasetLabels:
    """All labels of a dataset, and all its images in the order of their paths.

    `root` is "." where nothing wraps the dataset. `class_names` are by id, in the order of the ids:
    names of formats without ids are numbered after the others, in the order that a file gives them,
    else in alphabetical order; without any
    names, the ids that labels use stand for themselves. `labels_without_image` are label files that
    belong to no image. `problems` concern no single image; `all_problems` has the others too.
    """

    root: PurePosixPath
    layout: LayoutKind
    class_names: Mapping[int, str]
    images: tuple[DatasetImage, ...]
    labels_without_image: tuple[PurePosixPath, ...]
    problems: tuple[Problem, ...]

    @property
    def formats(self) -> frozenset[LabelFormat]:
        """The formats of all label files."""
        return frozenset(image.format for image in self.images if image.format is not None)

    def all_problems(self) -> Iterator[Problem]:
        """Yield the problems of the dataset, then those of each image."""
        yield from self.problems
        for image in self.images:
            if image.labels is not None:
                yield from image.labels.problems


def read_dataset_labels(
    paths: Iterable[str], read: FileReader, *, size_of_image: SizeOfImage | None = None
) -> DatasetLabels:
    """Read all labels of the (shallowest) dataset in a folder or archive.

    Nothing in the files raises: what cannot be used is a problem of the result. `paths` are all
    files, relative to the top; `read` gets one of them, exactly as listed. Its OSError, ValueError,
    KeyError, RuntimeError, EOFError or an error of `zipfile` and `zlib` makes that file a problem;
    any other error (a cancelled job) passes through. `size_of_image` is asked for images whose
    label file has pixels but no size.
    """
    plan = plan_dataset(paths, read)
    names = _NamesInUse(plan)
    images = []
    for image in iterate_images(plan, read, size_of_image=size_of_image):
        names.look_at(image)
        images.append(image)
    pixels = _pixels_not_normalised(plan, images)
    return DatasetLabels(
        root=plan.layout.root,
        layout=plan.layout.kind,
        class_names=names.result(),
        images=tuple(images),
        labels_without_image=tuple(map(PurePosixPath, plan.labels_without_image)),
        problems=(*plan.problems, *names.problems(), *pixels),
    )


def iterate_images(
    plan: DatasetPlan, read: FileReader, *, size_of_image: SizeOfImage | None = None
) -> Iterator[DatasetImage]:
    """Read the labels of one image after the other, in the order of the paths.

    `plan` is that of the same files; the others are as for `read_dataset_labels`.
    """
    for path, label_files in zip(plan.layout.images, plan.layout.labels, strict=True):
        labels, label_format = plan.shared_labels.get(path, (None, None))
        # A file of its own says more about an image than one about many, but .txt after JSON.
        own = label_files[0] if label_files else plan.mask_of_image.get(path)
        if labels is None or (own is not None and own.lower().endswith(".json")):
            labels, label_format = plan.own_labels.get(path) or (None, None)
            if labels is None and own is not None:
                labels, label_format = _read_own_file(
                    plan, read, own, PurePosixPath(path), size_of_image
                )
        image = labels.image if labels is not None else PurePosixPath(path)
        yield DatasetImage(image, plan.splits.get(path), labels, label_format)


def _read_own_file(
    plan: DatasetPlan,
    read: FileReader,
    path: str,
    image: PurePosixPath,
    size_of_image: SizeOfImage | None,
) -> tuple[ImageLabels, LabelFormat | None]:
    """Read the label file of one image in the format that its suffix and content tell."""
    source, log = PurePosixPath(path), label_log(path)
    content = read_bounded(plan.listed_paths[path], path, read, log)
    if content is None:
        return ImageLabels(image, source, (), log.entries()), None
    file = LabelFile(source, content)
    label_format = find_format(file)
    if label_format is None:
        return ImageLabels(image, source, (), _why_unknown(file)), None
    entry = FORMATS[label_format]
    if entry.read_shared is not None:
        return read_single_shared(file, entry.read_shared, image), label_format
    assert entry.read is not None, "rows are read as columns, before"
    context = ImageContext(
        image,
        names=plan.class_names,
        voc_counts_from_one=plan.voc_counts_from_one,
        class_map=plan.masks.class_map_of(path),
        look_up_size=None if size_of_image is None else partial(size_of_image, image),
    )
    return entry.read(file, context), label_format


def _why_unknown(file: LabelFile) -> tuple[Problem, ...]:
    """Say why a label file is of no format: it is damaged, or of another one."""
    log = label_log(file.path)
    suffix = file.path.suffix.lower()
    if suffix == ".xml":
        document = file.xml(log)
        if document is not None:
            reason = f"the root is {quoted(document.root.tag)}: not {names_of_formats(suffix)}"
            log.add(ProblemCode.XML_UNREADABLE, reason)
    elif file.json(log) is not None:
        log.add(ProblemCode.JSON_UNKNOWN_FORMAT, f"not {names_of_formats(suffix)}")
    return log.entries()


class _NamesInUse:
    """Collects the class names that labels bring along, and where they disagree."""

    def __init__(self, plan: DatasetPlan) -> None:
        self._declared = dict(plan.class_names)
        self._ordered = plan.ordered_classes
        self._by_id: dict[int, str] = {}
        self._without_id: set[str] = set()
        self._log = label_log(plan.layout.root)
        self._reported: set[tuple[int, str]] = set()

    def look_at(self, image: DatasetImage) -> None:
        """Take the names of one image's labels."""
        if image.labels is None:
            return
        for class_id, name in image.labels.classes:
            if class_id is None:
                self._without_id.add(name)
                continue
            first = self._by_id.setdefault(class_id, name)
            if first != name and (class_id, name) not in self._reported:
                self._reported.add((class_id, name))
                reason = (
                    f"class {class_id} is {quoted(name)} here and "
                    f"{quoted(first)} in an earlier file"
                )
                source = image.labels.source
                self._log.add(ProblemCode.CLASS_NAMES_DIFFER, reason, place=source)

    def result(self) -> dict[int, str]:
        """Return names by id, in the order of the ids."""
        names = dict(self._declared)
        for class_id, name in self._by_id.items():
            # A number outside the declared names is a problem of its row, not a class.
            if not self._declared or name != str(class_id):
                names.setdefault(class_id, name)
        next_id = max(names, default=-1) + 1
        known = set(names.values())
        ordered = [name for name in self._ordered if not self._declared or name in self._without_id]
        new_names = list(dict.fromkeys([*ordered, *sorted(self._without_id)]))
        new_names = [name for name in new_names if name not in known]
        names.update(enumerate(new_names, start=next_id))
        return dict(sorted(names.items()))

    def problems(self) -> tuple[Problem, ...]:
        """Return the disagreements between label files, and between them and the declared names."""
        undeclared = label_log(self._log.place)
        for name in sorted(self._without_id - set(self._declared.values())):
            if self._declared:
                reason = f"labels name the class {quoted(name)}, which is not declared"
                undeclared.add(ProblemCode.CLASS_NAMES_DIFFER, reason)
        return (*self._log.entries(), *undeclared.entries())


def _pixels_not_normalised(plan: DatasetPlan, images: list[DatasetImage]) -> tuple[Problem, ...]:
    """Find out whether the YOLO rows of a dataset are in pixels: most are over 1."""
    rows = over = 0
    for image in images:
        if image.format is LabelFormat.YOLO and image.labels is not None:
            rows += len(image.labels.labels)
            over += sum(
                problem.count
                for problem in image.labels.problems
                if problem.code == ProblemCode.COORD_OVER_ONE
            )
    if over * 2 <= rows or plan.yolo_geometry.kind is GeometryKind.KEYPOINTS:
        return ()
    log = label_log(plan.layout.root)
    reason = f"{over} of {rows} rows have coordinates over 1: they look like pixels"
    log.add(ProblemCode.PIXELS_NOT_NORMALISED, reason)
    return log.entries()
