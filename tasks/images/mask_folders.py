"""Pictures that are no images of a dataset but masks of them, found from the paths alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

CLASS_MAPS = frozenset({"labelmap.txt", "label_colors.txt", "class_dict.csv"})
"""Files that name the classes of masks, in lower case."""

_INITIALS = frozenset(initial for name in CLASS_MAPS for initial in (name[0], name[0].upper()))
# Pascal VOC has its masks beside JPEGImages, with a class map or without.
_OF_VOC = {"segmentationclass": True, "segmentationobject": False}
_IMAGES_OF_VOC = "jpegimages"
# Beside a class map: CamVid as it was published, and what else has two such folders.
_PAIRS = {"labeledapproved_full": "701_stillsraw_full", "masks": "images"}
# CamVid as tools write it: train and trainannot, or train and train_labels.
_ENDS = ("annot", "_labels")


@dataclass(frozen=True)
class MaskFolder:
    """A folder of masks.

    `images` is the folder of their images, `class_map` the path of the file that names their
    classes, None where there is none. Of masks without `has_classes` each pixel has a number of an
    object instead; for those that are `is_panoptic` a JSON file says what they are.
    """

    images: str
    class_map: str | None
    has_classes: bool
    is_panoptic: bool = False


def find_mask_folders(paths: Iterable[str]) -> dict[str, MaskFolder]:
    """Find the folders of masks in a listing of all files, with forward slashes."""
    parts = [path.rpartition("/") for path in paths]
    folders = {folder for folder, _, _ in parts}
    class_maps = {
        folder: f"{folder}/{name}" if folder else name
        for folder, _, name in parts
        if name[:1] in _INITIALS and name.lower() in CLASS_MAPS
    }
    segments = {
        name.lower().removesuffix(".json") for _, _, name in parts if is_panoptic_file(name)
    }
    by_lower = {folder.lower(): folder for folder in folders}
    found: dict[str, MaskFolder] = {}
    for folder in folders:
        parent, _, name = folder.lower().rpartition("/")
        if name in segments:
            found[folder] = MaskFolder("", None, has_classes=False, is_panoptic=True)
            continue
        class_map = _nearest(class_maps, folder)
        wanted = _IMAGES_OF_VOC if name in _OF_VOC else None
        if wanted is None and class_map is not None:
            ends = (name.removesuffix(end) for end in _ENDS if name.endswith(end))
            wanted = _PAIRS.get(name) or next(ends, None)
        images = by_lower.get(f"{parent}/{wanted}" if parent else str(wanted))
        if wanted and images is not None:
            found[folder] = MaskFolder(images, class_map, _OF_VOC.get(name, True))
    return found


def is_panoptic_file(name: str) -> bool:
    """Whether a file is called as the panoptic ones of COCO; a folder of that name has its PNGs."""
    return name.endswith((".json", ".JSON")) and "panoptic" in name.lower()


def image_stems(mask: str) -> tuple[str, ...]:
    """How the image of a mask may be called, without suffix, by the mask's own stem."""
    bare = (mask.removesuffix(end) for end in ("_L", "_mask", "_label") if mask.endswith(end))
    return (mask, *bare)


def _nearest(class_maps: dict[str, str], folder: str) -> str | None:
    """The class map in one of the folders above, the nearest one."""
    while folder:
        folder = folder.rpartition("/")[0]
        if folder in class_maps:
            return class_maps[folder]
    return None
