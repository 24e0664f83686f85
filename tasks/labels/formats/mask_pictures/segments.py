"""The pictures of COCO's panoptic files: each pixel has the id of its segment as a colour."""

from __future__ import annotations

import numpy as np

from tasks.labels.annotations import Polygon
from tasks.labels.formats.mask_pictures.masks import MaskError, polygons_of_mask
from tasks.labels.formats.mask_pictures.png_masks import read_mask_picture
from tasks.labels.geometry import ImageSize
from tasks.reports.problem_log import ProblemLog


class SegmentPicture:
    """The segments of one image: the id is red + 256 green + 256 x 256 blue."""

    def __init__(self, content: bytes) -> None:
        """Decode a PNG.

        Raises:
            MaskError: it cannot be read, or is not in colour.
        """
        values = read_mask_picture(content).values
        if values.ndim != 3:
            raise MaskError("it is not in colour")
        self._ids = values.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)

    def polygons(self, segment_id: object, log: ProblemLog, where: str) -> list[Polygon]:
        """The normalised outlines of a segment; none where no pixel is of it."""
        if type(segment_id) is not int or not 0 <= segment_id < 1 << 24:
            return []
        inside = (self._ids == segment_id).astype(np.uint8)
        size = ImageSize(inside.shape[1], inside.shape[0])
        return polygons_of_mask(inside, size, log, where) if inside.any() else []
