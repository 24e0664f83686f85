"""All labels of a dataset in one call, whatever its layout and its format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from tasks.labels.annotations import GeometryKind, ImageLabels
from tasks.labels.dataset.addresses import LayoutKind, Split
from tasks.labels.dataset.plan import DatasetPlan, FileReader, plan_dataset, read_bounded
from tasks.labels.formats.json_files import JsonFormat, format_of_json, parse_json
from tasks.labels.formats.labelme import read_labelme
from tasks.labels.formats.pascal_voc import read_pascal_voc
from tasks.labels.formats.project_json import read_project_json
from tasks.labels.formats.registry import LabelFormat, read_single_coco
from tasks.labels.geometry import ImageSize
from tasks.labels.limits import DEFAULT_LIMITS, DatasetLimits
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
    names of formats without ids are numbered in alphabetical order after the others; without any
    names, the ids that labels use stand for themselves. `labels_without_image` are label files that
    belong to no image. `problems` concern no single image; `all_problems` has the others too.
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
    label file has pixels but no size.
    """
    plan = plan_dataset(paths, read, limits)
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
    path, own = plan.layout.images[index], plan.layout.labels[index]
    labels: ImageLabels | None = plan.coco_labels.get(path)
    label_format = LabelFormat.COCO if labels is not None else None
    # A file of its own says more about an image than a COCO file, but .txt counts after JSON.
    if own is not None and (labels is None or own.lower().endswith(".json")):
        if path in plan.yolo:
            labels, label_format = plan.yolo.of_image(path), LabelFormat.YOLO
        elif path in plan.unreadable:
            labels, label_format = plan.unreadable[path], None
        else:
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
        self.kept = {
            index: read_image(index)
            for index, (path, own) in enumerate(
                zip(plan.layout.images, plan.layout.labels, strict=True)
            )
            if path in plan.coco_labels or (own is not None and path not in plan.yolo)
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
    suffix = source.suffix.lower()
    size = size_of_image(image) if size_of_image is not None else None
    if suffix == ".xml":
        labels = read_pascal_voc(
            content,
            source=source,
            image=image,
            image_size=size,
            counts_from_one=plan.voc_counts_from_one,
        )
        return labels, LabelFormat.PASCAL_VOC
    document = parse_json(content, log)
    match format_of_json(document):
        case JsonFormat.LABELME:
            labels = read_labelme(content, source=source, image=image, image_size=size)
            return labels, LabelFormat.LABELME
        case JsonFormat.PROJECT:
            labels = read_project_json(
                content, source=source, names=plan.class_names, image=image, image_size=size
            )
            return labels, LabelFormat.PROJECT_JSON
        case JsonFormat.COCO:
            return read_single_coco(content, source, image), LabelFormat.COCO
        case None:
            if document is not None:
                log.add(ProblemCode.JSON_UNKNOWN_FORMAT, "none of the known label formats")
            return ImageLabels(image, source, (), log.entries()), None


class _NamesInUse:
    """Collects the class names that labels bring along, and where they disagree."""

    def __init__(self, plan: DatasetPlan) -> None:
        self._declared = dict(plan.class_names)
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
        new_names = sorted(self._without_id - known)
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
