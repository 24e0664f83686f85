"""KITTI's text files: one file an image, one row an object; boxes in pixels from 0."""

from __future__ import annotations

import re

from tasks.labels.annotations import ImageLabels
from tasks.labels.formats.label_file import ImageContext, ImageObjects, LabelFile
from tasks.labels.formats.text_files import numbered_lines
from tasks.labels.formats.xml_files import number_of
from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import quoted

_FOLDERS = frozenset({"label_2", "label_3"})
_FIRST_ROW = re.compile(
    rb"\s*[^\W\d][^\s]*(?:[ \t]+-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?){14,15}\s*?(?:\n|$)"
)
# Class, truncation, occlusion, angle; the box; size, place and turn in space; perhaps a score.
_ROW_LENGTHS = (15, 16)
_BOX = slice(4, 8)
# Regions in which nobody has labelled anything.
_NO_CLASS = "DontCare"


def is_kitti(file: LabelFile) -> bool:
    """Whether the first row is one of KITTI, or an empty file lies in a folder of KITTI."""
    if not file.content.strip():
        return file.path.parent.name.lower() in _FOLDERS
    return _FIRST_ROW.match(file.beginning()) is not None


def read_kitti(file: LabelFile, context: ImageContext) -> ImageLabels:
    """Read the KITTI file of one image: class and box of each row.

    Truncation, occlusion and what lies in space are not read; regions called `DontCare` are no
    objects. The size of the image must be known.
    """
    image = context.image or file.path.with_suffix("")
    size = context.find_size()
    objects = ImageObjects(image, file.path, size)
    text = file.text(objects.log)
    if size is None:
        if text.strip():
            reason = "the rows are in pixels, and the image has no size"
            objects.log.add(ProblemCode.IMAGE_SIZE_MISSING, reason)
        return objects.result()
    for line, row in numbered_lines(text):
        words = row.split()
        if not words or words[0] == _NO_CLASS:
            continue
        if len(words) not in _ROW_LENGTHS:
            reason = f"{len(words)} values, not 15 or 16 as rows of KITTI have"
            objects.log.add(ProblemCode.ROW_LENGTH, reason, line)
            continue
        edges = [number for word in words[_BOX] if (number := number_of(word)) is not None]
        if len(edges) < len(words[_BOX]):
            reason = f"the box is {quoted(' '.join(words[_BOX]))}, not four numbers"
            objects.log.add(ProblemCode.COORD_NOT_NUMBER, reason, line)
            continue
        objects.add(words[0], [size.normalised_box(*edges)], "the row", line=line)
    return objects.result()
