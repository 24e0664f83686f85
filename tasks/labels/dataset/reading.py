"""All labels of a dataset in one call, whatever its layout and its format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from tasks.labels.annotations import GeometryKind, ImageLabels
from tasks.labels.dataset.addresses import LayoutKind, Split
from tasks.labels.dataset.collectors.shared_files import SizeOfImage
from tasks.labels.dataset.plan import DatasetPlan, FileReader, plan_dataset, read_bounded
from tasks.labels.formats.label_file import ImageContext, LabelFile
from tasks.labels.formats.registry import (
    FORMATS,
    LabelFormat,
    find_format,
    names_of_formats,
    read_single_shared,
)
from tasks.labels.limits import DEFAULT_LIMITS, DatasetLimits
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem, quoted


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
    else in alphabetical order; without any names, the ids that labels use stand for themselves.
    `labels_without_image` are label files that belong to no image. `problems` concern no single
    image; `all_problems` has the others too.
    """

    root: PurePosixPath
    layout: LayoutKind
    class_names: Mapping[int, str]
    images: DatasetImages
    labels_without_image: tuple[PurePosixPath, ...]
    problems: tuple[Problem, ...]

    @property
    def formats(self) -> frozenset[LabelFormat]:
        """The formats of all label files."""
        return frozenset(image.format for image in self.images if image.format is not None)

    def all_problems(self) -> Iterator[Problem]:
        """Yield the problems of the dataset, then those of each image."""
        yield from self.problems
        yield from self.images.problems()


def read_dataset_labels(
    paths: Iterable[str],
    read: FileReader,
    *,
    size_of_image: SizeOfImage | None = None,
    limits: DatasetLimits = DEFAULT_LIMITS,
) -> DatasetLabels:
    """Read all labels of the (shallowest) dataset in a folder or archive.

    Nothing in the files raises: what cannot be used is a problem of the result. `paths` are all
    files, relative to the top; `read` gets one of them, exactly as listed. Its OSError, ValueError,
    KeyError, RuntimeError, EOFError or an error of `zipfile` and `zlib` makes that file a problem;
    any other error (a cancelled job) passes through. `size_of_image` is asked for images whose
    label file has pixels, for a size that it lacks and to compare the one that it has.
    """
    plan = plan_dataset(paths, read, limits, size_of_image)
    images = DatasetImages(plan, partial(_read_image, plan, read, size_of_image))
    names = _NamesInUse(plan)
    for image in images.kept.values():
        names.look_at(image)
    pixels = _pixels_not_normalised(plan)
    return DatasetLabels(
        root=plan.layout.root,
        layout=plan.layout.kind,
        class_names=names.result(),
        images=images,
        labels_without_image=tuple(map(PurePosixPath, plan.labels_without_image)),
        problems=(*plan.problems, *names.problems(), *pixels),
    )


def iterate_images(
    plan: DatasetPlan, read: FileReader, *, size_of_image: SizeOfImage | None = None
) -> Iterator[DatasetImage]:
    """Read the labels of one image after the other, in the order of the paths.

    `plan` is that of the same files; the others are as for `read_dataset_labels`.
    """
    return map(partial(_read_image, plan, read, size_of_image), range(len(plan.layout.images)))


def _read_image(
    plan: DatasetPlan, read: FileReader, size_of_image: SizeOfImage | None, index: int
) -> DatasetImage:
    """Read the labels of one image, from the file of its own if it has one."""
    path = plan.layout.images[index]
    own = plan.layout.labels[index] or plan.mask_of_image.get(path)
    labels: ImageLabels | None
    label_format: LabelFormat | None
    labels, label_format = plan.shared_labels.get(path, (None, None))
    # A file of its own says more about an image than one about many, but .txt after JSON.
    if labels is None or (own is not None and own.lower().endswith(".json")):
        if path in plan.yolo:
            labels, label_format = plan.yolo.of_image(path), LabelFormat.YOLO
        elif path in plan.own_labels:
            labels, label_format = plan.own_labels[path]
        elif own is not None:
            labels, label_format = _read_own_file(
                plan, read, own, PurePosixPath(path), size_of_image
            )
    image = labels.image if labels is not None else PurePosixPath(path)
    return DatasetImage(image, plan.splits.get(path), labels, label_format)


class DatasetImages:
    """The images of a dataset; those with YOLO files or without labels are made when looked at."""

    def __init__(self, plan: DatasetPlan, read_image: Callable[[int], DatasetImage]) -> None:
        """Read the others; `read_image` reads one by its place."""
        self._plan, self._read_image = plan, read_image
        others = {*plan.shared_labels, *plan.own_labels, *plan.mask_of_image}
        self.kept = {
            index: read_image(index)
            for index, (path, own) in enumerate(
                zip(plan.layout.images, plan.layout.labels, strict=True)
            )
            if path in others or (own is not None and path not in plan.yolo)
        }

    def __len__(self) -> int:
        return len(self._plan.layout.images)

    def __getitem__(self, index: int) -> DatasetImage:
        index = range(len(self))[index]
        return self.kept.get(index) or self._read_image(index)

    def __iter__(self) -> Iterator[DatasetImage]:
        return map(self.__getitem__, range(len(self)))

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of each image."""
        with_problems = self._plan.yolo.images_with_problems()
        for index, path in enumerate(self._plan.layout.images):
            if index in self.kept or path in with_problems:
                labels = self[index].labels
                yield from labels.problems if labels is not None else ()


def _read_own_file(
    plan: DatasetPlan,
    read: FileReader,
    path: str,
    image: PurePosixPath,
    size_of_image: SizeOfImage | None,
) -> tuple[ImageLabels, LabelFormat | None]:
    """Read the label file of one image in the format that its suffix and content tell."""
    source, log = PurePosixPath(path), label_log(path)
    content = read_bounded(plan.layout, path, read, log, plan.limits)
    if content is None:
        return ImageLabels(image, source, (), log.entries()), None
    file = LabelFile(source, content)
    label_format = find_format(file)
    if label_format is None:
        return ImageLabels(image, source, (), _why_unknown(file)), None
    entry = FORMATS[label_format]
    look_up_size = None if size_of_image is None else partial(size_of_image, image)
    if entry.read_shared is not None:
        return read_single_shared(file, entry.read_shared, image, look_up_size), label_format
    assert entry.read is not None, "rows are read as columns, before"
    context = ImageContext(
        image,
        names=plan.class_names,
        voc_counts_from_one=plan.voc_counts_from_one,
        class_map=plan.masks.class_map_of(path),
        look_up_size=look_up_size,
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
        self._most = plan.limits.classes
        self._by_id = dict(plan.yolo.class_names)
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
        if len(names) > self._most:
            reason = f"{len(names)} classes; {self._most} are named (VISIONFLOWS_MAX_CLASSES)"
            self._log.add(ProblemCode.CLASSES_TOO_MANY, reason)
        return dict(sorted(names.items())[: self._most])

    def problems(self) -> tuple[Problem, ...]:
        """Return the disagreements between label files, and between them and the declared names."""
        undeclared = label_log(self._log.place)
        for name in sorted(self._without_id - set(self._declared.values())):
            if self._declared:
                reason = f"labels name the class {quoted(name)}, which is not declared"
                undeclared.add(ProblemCode.CLASS_NAMES_DIFFER, reason)
        return (*self._log.entries(), *undeclared.entries())


def _pixels_not_normalised(plan: DatasetPlan) -> tuple[Problem, ...]:
    """Find out whether the YOLO rows of a dataset are in pixels: most are over 1."""
    rows, over = plan.yolo.row_count, plan.yolo.over_one
    if over * 2 <= rows or plan.yolo_geometry.kind is GeometryKind.KEYPOINTS:
        return ()
    log = label_log(plan.layout.root)
    reason = f"{over} of {rows} rows have coordinates over 1: they look like pixels"
    log.add(ProblemCode.PIXELS_NOT_NORMALISED, reason)
    return log.entries()
