"""DOTA's text files (`labelTxt`): one file an image, one oriented box a row, pixels from 0."""

from __future__ import annotations

import re

from tasks.labels.annotations import ImageLabels
from tasks.labels.formats.label_file import ImageContext, ImageObjects, LabelFile
from tasks.labels.formats.text_files import numbered_lines
from tasks.labels.formats.xml_files import number_of
from tasks.labels.geometry import oriented_box_of
from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import quoted

_FOLDER = "labeltxt"
_FIRST_ROW = re.compile(
    rb"\s*(?:imagesource:|gsd:|(?:-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?[ \t]+){8}[^\W\d][^\s]*"
    rb"\s*?(?:[ \t]+\d\s*?)?(?:\n|$))"
)
_HEADINGS = ("imagesource:", "gsd:")
_CORNER_VALUES = 8


def is_dota(file: LabelFile) -> bool:
    """Whether the first row is one of DOTA, or an empty file lies in a folder of DOTA."""
    if not file.content.strip():
        return file.path.parent.name.lower().startswith(_FOLDER)
    return _FIRST_ROW.match(file.beginning()) is not None


def read_dota(file: LabelFile, context: ImageContext) -> ImageLabels:
    """Read the DOTA file of one image: class and four corners of each row.

    How difficult an object is, is not read. The size of the image must be known.
    """
    image = context.image or file.path.with_suffix("")
    size = context.find_size()
    objects = ImageObjects(image, file.path, size)
    log = objects.log
    text = file.text(log)
    if size is None:
        if text.strip():
            reason = "the rows are in pixels, and the image has no size"
            log.add(ProblemCode.IMAGE_SIZE_MISSING, reason)
        return objects.result()
    for line, row in numbered_lines(text):
        words = row.split()
        if not words or row.lstrip().startswith(_HEADINGS):
            continue
        if len(words) <= _CORNER_VALUES:
            reason = f"{len(words)} values, not four corners and a class"
            log.add(ProblemCode.ROW_TOO_SHORT, reason, line)
            continue
        written = words[:_CORNER_VALUES]
        values = [number for word in written if (number := number_of(word)) is not None]
        if len(values) < _CORNER_VALUES:
            reason = f"the corners are {quoted(' '.join(written))}, not eight numbers"
            log.add(ProblemCode.COORD_NOT_NUMBER, reason, line)
            continue
        corners = zip(values[0::2], values[1::2], strict=True)
        box = oriented_box_of([size.normalised_point(*corner) for corner in corners])
        assert box is not None, "there are four corners"
        objects.add(words[_CORNER_VALUES], [box], "the row", line=line)
    return objects.result()
