"""Pictures whose pixels have the colour or the number of a class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tasks.images.decoding import is_png
from tasks.labels.annotations import ImageLabels
from tasks.labels.formats.class_maps import ClassMap, Colour, is_background
from tasks.labels.formats.label_file import ImageContext, ImageObjects, LabelFile
from tasks.labels.formats.mask_pictures.masks import MaskError, polygons_of_mask
from tasks.labels.formats.mask_pictures.png_masks import MaskPicture, read_mask_picture
from tasks.labels.geometry import ImageSize
from tasks.labels.problems import ProblemCode

# A mask has one colour for each class; a picture has thousands.
MOST_COLOURS = 4096
_UNKNOWN, _OPEN = -1, -2
# Borders that VOC leaves open have the last colour of its palette.
_OPEN_COLOUR, _OPEN_NUMBER = (224, 224, 192), 255


def is_class_mask(file: LabelFile) -> bool:
    """Whether it is a PNG; that it lies in a folder of masks was seen before."""
    return is_png(file.content)


def read_class_mask(file: LabelFile, context: ImageContext) -> ImageLabels:
    """Read the mask of one image by the class map of the context.

    Each connected part of a class is an object, outlined along the edges of its pixels. A picture
    with a palette or in colour has the colours of the map, a grey one the positions of its classes.
    The background, and VOC's borders that are left open, are no objects; the mask covers the image
    whole, whatever the size of either.
    """
    image = ImageObjects(context.image or file.path.with_suffix(""), file.path, None)
    if context.class_map is None:
        image.log.add(ProblemCode.CLASS_UNKNOWN, "there is no class map for this mask")
        return image.result()
    try:
        picture = read_mask_picture(file.content)
        positions = _positions(picture, context.class_map)
    except MaskError as error:
        image.log.add(ProblemCode.MASK_UNREADABLE, f"the mask cannot be read: {error}")
        return image.result()
    unknown = int((positions == _UNKNOWN).sum())
    if unknown:
        reason = f"{unknown} pixels of colours that {context.class_map.file} does not name"
        image.log.add(ProblemCode.CLASS_UNKNOWN, reason)
    height, width = positions.shape
    present = np.flatnonzero(np.bincount(positions[positions >= 0], minlength=1)).tolist()
    for position in present:
        name = context.class_map.classes[position]
        if is_background(name):
            continue
        where = f"the class {name}"
        inside = (positions == position).astype(np.uint8)
        for polygon in polygons_of_mask(inside, ImageSize(width, height), image.log, where):
            image.add(name, [polygon], where)
    return image.result()


def _positions(picture: MaskPicture, classes: ClassMap) -> npt.NDArray[np.int64]:
    """The position of the class of each pixel; below 0 where it has none.

    Raises:
        MaskError: it has too many colours.
    """
    values = picture.values.astype(np.int64)
    if values.ndim == 3:
        values = (values[:, :, 0] << 16) | (values[:, :, 1] << 8) | values[:, :, 2]
    found, inverse = np.unique(values, return_inverse=True)
    if len(found) > MOST_COLOURS:
        raise MaskError(f"it has {len(found)} colours, more than a mask of classes")
    if picture.values.ndim == 3:
        colours = [(one >> 16, one >> 8 & 255, one & 255) for one in found.tolist()]
        places = [_by_colour(colour, classes.colours) for colour in colours]
    else:
        places = _of_numbers(found.tolist(), picture.palette, classes)
    return np.array(places, np.int64)[inverse].reshape(values.shape)


def _of_numbers(
    numbers: list[int], palette: npt.NDArray[np.uint8] | None, classes: ClassMap
) -> list[int]:
    """The position of the class that each number of a mask stands for."""
    if palette is None:
        # Grey pictures have the numbers of classes, or greys of the map.
        palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        by_number = all(one < len(classes.classes) or one == _OPEN_NUMBER for one in numbers)
    else:
        by_number = not classes.colours
    if by_number:
        count = len(classes.classes)
        return [
            one if one < count else _OPEN if one == _OPEN_NUMBER else _UNKNOWN for one in numbers
        ]
    colours = [tuple(palette[one].tolist()) if one < len(palette) else () for one in numbers]
    return [_by_colour(colour, classes.colours) for colour in colours]


def _by_colour(colour: tuple[int, ...], colours: Mapping[Colour, int]) -> int:
    if len(colour) == 3 and colour in colours:
        return colours[colour]
    return _OPEN if colour == _OPEN_COLOUR else _UNKNOWN
