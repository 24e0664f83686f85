"""Splits that are written in files and not shown by folders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import PurePosixPath

from tasks.labels.dataset.addresses import Split
from tasks.labels.dataset.layouts import DatasetLayout
from tasks.labels.formats.class_files import DataYaml
from tasks.labels.formats.text_files import decode_text
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem


def find_splits(
    layout: DatasetLayout,
    config: DataYaml | None,
    content_of: Callable[[PurePosixPath], bytes | None],
) -> tuple[dict[PurePosixPath, Split], tuple[Problem, ...]]:
    """Find the split of every image: by its folder, else by data.yaml, else by a list file.

    Paths in data.yaml may be relative to anything (exports begin with `../`, notebooks write
    absolute ones): the longest end of such a path that exists in the dataset is meant.

    Args:
        content_of: returns the bytes of a file, None where it cannot be read.

    Returns:
        The split of each image that has one, and the splits of data.yaml that are not there.
    """
    splits = {image.path: image.split for image in layout.images if image.split is not None}
    log = label_log(config.file if config else layout.root)
    index = _EndIndex(layout)
    lists = list(layout.split_lists)
    for name, written_paths in config.split_paths.items() if config else ():
        for written in written_paths:
            if written.lower().endswith(".txt"):
                found_list = _list_called(written, layout)
                if found_list is not None:
                    # data.yaml knows better than the name of the list.
                    lists = [
                        (found_list, Split(name)),
                        *(one for one in lists if one[0] != found_list),
                    ]
                else:
                    log.add(ProblemCode.SPLIT_MISSING, f"there is no list {written!r:.80} ({name})")
                continue
            images = index.images_below(written)
            if not images and Split(name) not in splits.values():
                log.add(ProblemCode.SPLIT_MISSING, f"there is no image in {written!r:.80} ({name})")
            for image in images:
                splits.setdefault(image, Split(name))
    for path, split in lists:
        content = content_of(path)
        text = decode_text(content, label_log(path)) if content is not None else ""
        for line in text.split("\n"):
            called = index.image_called(line.strip())
            if called is not None:
                splits.setdefault(called, split)
    return splits, log.entries()


def _parts(written: str) -> tuple[str, ...]:
    """Split a path as written, without the steps that do not lead down."""
    parts = written.replace("\\", "/").split("/")
    return tuple(part for part in parts if part not in ("", ".", ".."))


def _list_called(written: str, layout: DatasetLayout) -> PurePosixPath | None:
    """Find a list file by the end of its path."""
    name = _parts(written)[-1:]
    return next((path for path, _ in layout.split_lists if path.parts[-1:] == name), None)


class _EndIndex:
    """Finds images and folders by the ends of their paths."""

    def __init__(self, layout: DatasetLayout) -> None:
        self._depth = len(layout.root.parts)
        self._by_folder: dict[tuple[str, ...], list[PurePosixPath]] = defaultdict(list)
        self._by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
        for image in layout.images:
            parts = image.path.parts[self._depth :]
            for length in range(len(parts)):
                self._by_folder[parts[:length]].append(image.path)
            self._by_name[parts[-1]].append(image.path)
            # The lists of Pascal VOC have names without suffixes.
            self._by_name[image.path.stem].append(image.path)

    def images_below(self, written: str) -> list[PurePosixPath]:
        """Return the images in the folder that the longest end of a path names."""
        parts = _parts(written)
        if not parts:
            return self._by_folder.get((), [])
        for start in range(len(parts)):
            if found := self._by_folder.get(parts[start:]):
                return found
        return []

    def image_called(self, written: str) -> PurePosixPath | None:
        """Return the image that a line of a list names, None where none or several fit."""
        # VOC's lists per class have a second column.
        parts = _parts(written) or ("",)
        name = parts[-1] if parts[-1] in self._by_name else parts[-1].split(" ")[0]
        candidates = self._by_name.get(name, [])
        folders = parts[:-1]
        for start in range(len(folders) + 1):
            end = folders[start:]
            fitting = [
                path
                for path in candidates
                if path.parent.parts[len(path.parent.parts) - len(end) :] == end
            ]
            if len(fitting) == 1:
                return fitting[0]
        return None
