"""The labels that COCO files give to the images of a dataset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from pathlib import PurePosixPath

from tasks.labels.annotations import ImageLabels
from tasks.labels.dataset.addresses import Split, address_of, split_of_name
from tasks.labels.dataset.folders import split_of_number
from tasks.labels.dataset.layouts import DatasetLayout
from tasks.labels.formats.class_files import ClassList, compare_class_names
from tasks.labels.formats.coco import read_coco
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem


class CocoCollector:
    """Reads the COCO files of a dataset and finds the images that they list.

    A `file_name` may be relative to the COCO file, to the dataset's root, or to some folder of
    images; where several images fit, the split of the COCO file (by its folder, or by its name as
    in `instances_val2017.json`) decides. `labels` are by the path of the image; the first file that
    names an id counts for `class_names`; `problems` concern no single image.
    """

    def __init__(self, layout: DatasetLayout) -> None:
        self.labels: dict[str, ImageLabels] = {}
        self.class_names: dict[int, str] = {}
        self.problems: tuple[Problem, ...] = ()
        self._layout = layout

    @cached_property
    def _images_by_name(self) -> Mapping[str, list[tuple[str, Split | None]]]:
        """Path and split of the images of each name, by their folders alone."""
        layout, by_name = self._layout, defaultdict(list)
        splits = layout.placed.folders.splits[layout.placed.folder_ids].tolist()
        for image, split in zip(layout.images, splits, strict=True):
            by_name[image.rpartition("/")[2]].append((image, split_of_number(split)))
        return by_name

    def add(self, content: bytes, source: PurePosixPath) -> None:
        """Read one COCO file."""
        coco = read_coco(content, source=source)
        log = label_log(source)
        split = _split_of_file(source)
        for entry in coco.images:
            image = self._find(entry.image, source, split)
            if image is None:
                log.add(ProblemCode.IMAGE_UNKNOWN, f"no image (or several) for {entry.image}")
                continue
            earlier = self.labels.get(image)
            labels, problems = entry.labels, entry.problems
            if earlier is not None:
                # Instances and captions of one image may come in two files.
                offset = max((label.instance or 0 for label in earlier.labels), default=0)
                if offset and any(label.instance is not None for label in labels):
                    log.add(ProblemCode.OBJECT_MALFORMED, f"{image} has objects in two COCO files")
                labels = (*earlier.labels, *labels)
                problems = (*earlier.problems, *problems)
            self.labels[image] = ImageLabels(PurePosixPath(image), source, labels, problems)
        known = ClassList(PurePosixPath("an earlier COCO file"), dict(self.class_names))
        differences = compare_class_names([known, ClassList(source, coco.class_names)])
        for class_id, name in coco.class_names.items():
            self.class_names.setdefault(class_id, name)
        self.problems = (*self.problems, *coco.problems, *log.entries(), *differences)

    def _find(self, name: PurePosixPath, source: PurePosixPath, split: Split | None) -> str | None:
        """Find the image that a COCO file means."""
        candidates = self._images_by_name.get(name.name, [])
        for exact in (str(source.parent / name), str(self._layout.root / name)):
            if any(image == exact for image, _ in candidates):
                return exact
        if len(candidates) > 1:
            end = f"/{name}"
            candidates = [one for one in candidates if f"/{one[0]}".endswith(end)] or candidates
        if len(candidates) > 1:
            candidates = [one for one in candidates if one[1] == split]
        return candidates[0][0] if len(candidates) == 1 else None


def _split_of_file(source: PurePosixPath) -> Split | None:
    """Read the split of a COCO file from its folders, else from a word of its name."""
    split = address_of(source.parent.parts).split
    words = source.stem.replace("-", "_").replace(".", "_").split("_")
    return split or next((found for word in words if (found := split_of_name(word))), None)
