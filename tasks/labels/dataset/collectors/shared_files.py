"""The labels that files about many images give to the images of a dataset."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import PurePosixPath

from tasks.labels.annotations import ImageLabels
from tasks.labels.dataset.addresses import Split, address_of, split_of_name
from tasks.labels.dataset.collectors.same_objects import join_objects
from tasks.labels.dataset.folders import split_of_number
from tasks.labels.dataset.layouts import DatasetLayout
from tasks.labels.formats.class_files import ClassList, compare_class_names
from tasks.labels.formats.label_file import LabelFile, SharedContext, SharedLabels, SharedReader
from tasks.labels.formats.registry import LabelFormat
from tasks.labels.geometry import ImageSize
from tasks.labels.picture_sizes import fit_to_picture
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem

_LAST_NUMBER = re.compile(r"(\d+)\D*")
# Label Studio puts eight digits before the name of an uploaded picture.
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")
SizeOfImage = Callable[[PurePosixPath], ImageSize | None]
"""Tells the size of a picture as it is shown; None where it cannot be read."""
_Candidates = list[tuple[str, Split | None]]


class SharedFileCollector:
    """Reads the files of a dataset that are about many images, and finds these images.

    A name may be relative to the file, to the dataset's root, or to some folder of images, with or
    without a suffix; where several images fit, the split of the file (by its folder, or by its name
    as in `instances_val2017.json`) decides. `labels` are by the path of the image, with their
    format; an object that several files list is there once, with all that is known of it. The first
    file that names an id counts for `class_names`; `ordered_classes` are classes without ids in the
    order of the files; `problems` concern no single image. `read` gives pictures of segments,
    `size_of_image` tells the size of a picture as it is shown.
    """

    def __init__(
        self,
        layout: DatasetLayout,
        codes: Mapping[str, str],
        read: Callable[[str], bytes | None],
        size_of_image: SizeOfImage | None = None,
    ) -> None:
        self.labels: dict[str, tuple[ImageLabels, LabelFormat]] = {}
        self.class_names: dict[int, str] = {}
        self.ordered_classes: dict[str, None] = {}
        self.problems: tuple[Problem, ...] = ()
        self._layout = layout
        self._codes = codes
        self._read = read
        self._size_of_image = size_of_image
        self._panoptic: list[tuple[PurePosixPath, LabelFormat, SharedLabels]] = []

    def add(self, file: LabelFile, label_format: LabelFormat, read: SharedReader) -> None:
        """Read one file."""
        context = SharedContext(
            self._codes,
            partial(self._look_up_size, file.path),
            partial(self._read_segments, file.path),
        )
        shared = read(file, context)
        if shared.is_panoptic:
            self._panoptic.append((file.path, label_format, shared))
        else:
            self._take(file.path, label_format, shared)

    def finish(self) -> None:
        """Take the files that others say more than; called when all are read."""
        for source, label_format, shared in self._panoptic:
            self._take(source, label_format, shared)
        self._panoptic.clear()

    def _take(self, source: PurePosixPath, label_format: LabelFormat, shared: SharedLabels) -> None:
        log = label_log(source)
        split = _split_of_file(source)
        for entry in shared.images:
            frame = shared.frames.get(entry.image)
            image = self._find(entry.image, frame, source, split)
            if image is None:
                log.add(ProblemCode.IMAGE_UNKNOWN, f"no image (or several) for {entry.image}")
                continue
            path, size = PurePosixPath(image), shared.sizes.get(entry.image)
            found = ImageLabels(path, source, entry.labels, entry.problems)
            if shared.has_pixels and self._size_of_image is not None:
                found = fit_to_picture(found, size, partial(self._size_of_image, path))
            earlier = self.labels.get(image)
            if earlier is not None:
                before = earlier[0]
                labels = join_objects(
                    before.labels, found.labels, size, only_new_classes=shared.is_panoptic
                )
                problems = dict.fromkeys((*before.problems, *found.problems))
                found = replace(before, labels=labels, problems=tuple(problems))
            self.labels[image] = found, label_format if earlier is None else earlier[1]
        known = ClassList(PurePosixPath("an earlier label file"), dict(self.class_names))
        differences = compare_class_names([known, ClassList(source, shared.class_names)])
        for class_id, name in shared.class_names.items():
            self.class_names.setdefault(class_id, name)
        self.ordered_classes.update(dict.fromkeys(shared.ordered_classes))
        self.problems = (*self.problems, *shared.problems, *log.entries(), *differences)

    def _look_up_size(self, source: PurePosixPath, name: PurePosixPath) -> ImageSize | None:
        """The size of a picture as it is shown, by its name in a file."""
        image = self._find(name, None, source, _split_of_file(source))
        if image is None or self._size_of_image is None:
            return None
        return self._size_of_image(PurePosixPath(image))

    def _read_segments(self, source: PurePosixPath, name: str) -> bytes | None:
        """A picture of segments, in a folder that is called like its file."""
        folders = self._segment_folders.get(source.stem.lower(), [])
        beside = str(source.parent / source.stem)
        paths = [f"{folder}/{name}" for folder in sorted(folders, key=lambda one: one != beside)]
        path = next((one for one in paths if one in self._layout.masks), None)
        return None if path is None else self._read(path)

    def _find(
        self, name: PurePosixPath, frame: int | None, source: PurePosixPath, split: Split | None
    ) -> str | None:
        """Find the image that a file means."""
        candidates = self._candidates(name.name)
        if frame is not None:
            near = f"{source.parent}/" if source.parent.parts else ""
            candidates = [one for one in self._by_frame[frame] if one[0].startswith(near)]
        for exact in (str(source.parent / name), str(self._layout.root / name)):
            if any(image == exact for image, _ in candidates):
                return exact
        if len(candidates) > 1:
            end = f"/{name}"
            fitting = [one for one in candidates if f"/{one[0]}".endswith(end)]
            bare = [one for one in candidates if f"/{_without_suffix(one[0])}".endswith(end)]
            candidates = fitting or bare or candidates
        if len(candidates) > 1:
            candidates = [one for one in candidates if one[1] == split]
        return candidates[0][0] if len(candidates) == 1 else None

    def _candidates(self, name: str) -> _Candidates:
        """The images with a name, else with that stem, else with the name before an upload."""
        found = self._by_name.get(name) or self._by_stem.get(name)
        if not found and (uploaded := _UPLOADED.fullmatch(name)):
            found = self._by_name.get(uploaded[1])
        return found or []

    @cached_property
    def _images(self) -> _Candidates:
        """All images with their splits, by their folders alone."""
        placed = self._layout.placed
        splits = placed.folders.splits[placed.folder_ids].tolist()
        return list(zip(self._layout.images, map(split_of_number, splits), strict=True))

    @cached_property
    def _segment_folders(self) -> dict[str, list[str]]:
        """The folders of pictures of segments by their names."""
        masks = self._layout.masks.items()
        found: dict[str, list[str]] = defaultdict(list)
        for folder in sorted({path.rpartition("/")[0] for path, one in masks if one.is_panoptic}):
            found[folder.rpartition("/")[2].lower()].append(folder)
        return dict(found)

    @cached_property
    def _by_name(self) -> dict[str, _Candidates]:
        found: dict[str, _Candidates] = defaultdict(list)
        for one in self._images:
            found[one[0].rpartition("/")[2]].append(one)
        return dict(found)

    @cached_property
    def _by_stem(self) -> dict[str, _Candidates]:
        found: dict[str, _Candidates] = defaultdict(list)
        for one in self._images:
            found[_without_suffix(one[0].rpartition("/")[2])].append(one)
        return dict(found)

    @cached_property
    def _by_frame(self) -> dict[int, _Candidates]:
        """The images whose names end with a number, as frames of a video are called."""
        found: dict[int, _Candidates] = defaultdict(list)
        for one in self._images:
            numbers = _LAST_NUMBER.findall(_without_suffix(one[0].rpartition("/")[2])[-20:])
            if numbers:
                found[int(numbers[-1])].append(one)
        return found


def _without_suffix(path: str) -> str:
    return path.rpartition(".")[0]


def _split_of_file(source: PurePosixPath) -> Split | None:
    """Read the split of a file from its folders, else from a word of its name."""
    split = address_of(source.parent.parts).split
    words = source.stem.replace("-", "_").replace(".", "_").split("_")
    return split or next((found for word in words if (found := split_of_name(word))), None)
