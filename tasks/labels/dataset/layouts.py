"""Where a dataset keeps its images and labels, found from the list of its paths alone.

Every file has an address: the dataset's root, the split, the path below, and the name without its
suffix. An image and a label file with the same address belong together, whether the labels are in
`labels/train`, in `train/labels`, or beside the images.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from tasks.labels.dataset.addresses import (
    Address,
    LayoutKind,
    Split,
    address_of,
    choose_roots,
    owning_root,
    split_of_name,
)
from tasks.labels.dataset.listed_files import ListedFile, clean_listing
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem, ProblemLog

# The order is the priority where an image has several label files.
LABEL_SUFFIXES = (".json", ".toon", ".txt", ".xml")
# Text files that lie beside labels and are none.
_RESERVED_NAME = re.compile(r"(readme|licen[cs]e|notice|requirements|notes?)(\W.*)?")
_CLASS_LISTS = frozenset({"classes.txt", "obj.names", "_darknet.labels", "labels.txt"})


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image with its label files.

    Attributes:
        split: its split by its folder; None where its folder says nothing.
        labels: its label files, the one that counts first.
    """

    path: PurePosixPath
    split: Split | None
    labels: tuple[PurePosixPath, ...]


@dataclass(frozen=True)
class DatasetLayout:
    """One dataset in a folder or archive.

    Attributes:
        root: the folder that holds it; "." where nothing wraps it.
        kind: how most of its images are arranged.
        images: all images in the order of their paths.
        labels_without_image: files in label folders or beside images that belong to no image.
        yaml_files: candidates for data.yaml, the nearest to the root first.
        class_lists: `classes.txt` and the like, the nearest to the root first.
        json_files: JSON files that belong to no single image (COCO files are among them).
        split_lists: text files called after a split, with that split.
        problems: about paths and files.
    """

    root: PurePosixPath
    kind: LayoutKind
    images: tuple[ListedImage, ...]
    labels_without_image: tuple[PurePosixPath, ...] = ()
    yaml_files: tuple[PurePosixPath, ...] = ()
    class_lists: tuple[PurePosixPath, ...] = ()
    json_files: tuple[PurePosixPath, ...] = ()
    split_lists: tuple[tuple[PurePosixPath, Split], ...] = ()
    problems: tuple[Problem, ...] = ()


def find_datasets(paths: Iterable[str]) -> tuple[DatasetLayout, ...]:
    """Find the datasets in a folder or archive.

    Args:
        paths: every file, relative to the top, with either kind of slash. Resource files of
            desktops, hidden files and caches are ignored; paths that lead outside are reported.

    Returns:
        The shallowest dataset first; usually there is one. Problems that concern no dataset are in
        the first one. Without any image there is one empty layout.
    """
    log = label_log(PurePosixPath())
    files = clean_listing(paths, log)
    addresses = {parts: address_of(parts) for parts in {file.folder for file in files}}
    roots = choose_roots(files, addresses)
    by_root: dict[tuple[str, ...], list[ListedFile]] = {root: [] for root in roots}
    for file in files:
        root = owning_root(file.folder, addresses[file.folder], roots)
        if root is not None:
            by_root[root].append(file)
        elif file.is_image:
            log.add(ProblemCode.DATASET_ROOT_EXTRA, "an image outside the dataset", place=file.path)
        else:
            # data.yaml may lie above the folder of the images.
            for other in roots:
                if other[: len(file.folder)] == file.folder:
                    by_root[other].append(file)
    layouts = [_layout(root, by_root[root], addresses) for root in roots]
    first = layouts[0]
    extra = [
        Problem(
            ProblemCode.DATASET_ROOT_EXTRA,
            str(layout.root),
            f"another dataset of {len(layout.images)} images beside the one in {first.root}",
        )
        for layout in layouts[1:]
    ]
    problems = (*log.entries(), *extra, *first.problems)
    return (_with_problems(first, problems), *layouts[1:])


def _with_problems(layout: DatasetLayout, problems: tuple[Problem, ...]) -> DatasetLayout:
    """Return a layout with other problems."""
    return DatasetLayout(**{**vars(layout), "problems": problems})


def _layout(
    root: tuple[str, ...],
    files: list[ListedFile],
    addresses: dict[tuple[str, ...], Address],
) -> DatasetLayout:
    """Sort the files of one dataset and pair its images with their labels."""
    log = label_log(PurePosixPath(*root))
    images: list[ListedFile] = []
    candidates: list[ListedFile] = []
    yaml_files: list[ListedFile] = []
    class_lists: list[ListedFile] = []
    split_lists: list[ListedFile] = []
    folders_with_images = {file.folder for file in files if file.is_image}
    for file in files:
        name = file.name.lower()
        if file.is_image:
            images.append(file)
        elif file.suffix in (".yaml", ".yml"):
            yaml_files.append(file)
        elif name in _CLASS_LISTS:
            class_lists.append(file)
        elif _is_split_list(file, addresses[file.folder]):
            split_lists.append(file)
        elif file.suffix in LABEL_SUFFIXES and not _RESERVED_NAME.fullmatch(name):
            candidates.append(file)
    _note_case_conflicts([*images, *candidates], log)
    listed, unused = _pair(root, images, candidates, addresses, log)
    orphans = [
        file.path
        for file in unused
        if file.suffix != ".json"
        and (addresses[file.folder].is_label_folder or file.folder in folders_with_images)
    ]
    kinds = Counter(addresses[file.folder].kind for file in images)
    return DatasetLayout(
        root=PurePosixPath(*root),
        kind=kinds.most_common(1)[0][0] if kinds else LayoutKind.FLAT,
        images=tuple(listed),
        labels_without_image=tuple(orphans),
        yaml_files=_nearest_first(yaml_files),
        class_lists=_nearest_first(class_lists),
        json_files=_nearest_first([file for file in unused if file.suffix == ".json"]),
        split_lists=tuple(
            (path, split)
            for path in _nearest_first(split_lists)
            if (split := split_of_name(path.stem))
        ),
        problems=log.entries(),
    )


def _is_split_list(file: ListedFile, address: Address) -> bool:
    """Whether a text file lists the images of a split: train.txt outside the label folders."""
    if file.suffix != ".txt" or split_of_name(file.stem) is None:
        return False
    return not address.is_label_folder and address.split is None


def _nearest_first(files: list[ListedFile]) -> tuple[PurePosixPath, ...]:
    """Order files by their depth, then by their paths."""
    return tuple(file.path for file in sorted(files, key=lambda f: (len(f.folder), f.path)))


def _note_case_conflicts(files: list[ListedFile], log: ProblemLog) -> None:
    """Note paths that are one file where the file system ignores case."""
    first: dict[str, ListedFile] = {}
    for file in files:
        other = first.setdefault(str(file.path).lower(), file)
        if other is not file:
            reason = f"the same as {other.path} on systems that ignore case"
            log.add(ProblemCode.CASE_CONFLICT, reason, place=file.path)


def _pair(
    root: tuple[str, ...],
    images: list[ListedFile],
    candidates: list[ListedFile],
    addresses: dict[tuple[str, ...], Address],
    log: ProblemLog,
) -> tuple[list[ListedImage], list[ListedFile]]:
    """Give every image its label files; also return the files that no image has taken."""

    def key(file: ListedFile, name: str) -> tuple[object, ...]:
        address = addresses[file.folder]
        rest = address.rest[len(root) :] if address.root is None else address.rest
        # macOS writes decomposed accents; the pair may come from two systems.
        return (address.root or root, address.split, rest, unicodedata.normalize("NFC", name))

    by_key: dict[tuple[object, ...], list[ListedFile]] = defaultdict(list)
    for file in candidates:
        by_key[key(file, file.stem)].append(file)
        if file.name[len(file.stem) :] != file.suffix:
            reason = "found, but systems that heed case expect a suffix in lower case"
            log.add(ProblemCode.LABEL_EXTENSION_CASE, reason, place=file.path)
    taken: set[PurePosixPath] = set()
    owners: dict[tuple[object, ...], ListedFile] = {}
    listed = []
    for image in images:
        own_key = key(image, image.stem)
        # Labels of all splits may lie in one folder; and some tools append: a.jpg.json.
        keys = [own_key, (own_key[0], None, *own_key[2:]), key(image, image.name)]
        found_key = next((one for one in keys if one in by_key), own_key)
        found = sorted(
            by_key.get(found_key, []),
            key=lambda file: (
                LABEL_SUFFIXES.index(file.suffix),
                not addresses[file.folder].is_label_folder,
                file.path,
            ),
        )
        owner = owners.setdefault(found_key, image)
        if found and owner is not image:
            reason = f"shares its name with {owner.path}, which has the label"
            log.add(ProblemCode.STEM_SHARED, reason, place=image.path)
            found = []
        taken.update(file.path for file in found)
        for shadowed in found[1:]:
            reason = f"not read: {found[0].path} counts for the same image"
            log.add(ProblemCode.LABEL_FILE_SHADOWED, reason, place=shadowed.path)
        split = addresses[image.folder].split
        listed.append(ListedImage(image.path, split, tuple(file.path for file in found)))
    return listed, [file for file in candidates if file.path not in taken]
