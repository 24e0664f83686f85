"""The boxes of Open Images: one CSV file for many images, normalised."""

from __future__ import annotations

import csv
import io
from pathlib import PurePosixPath

from tasks.labels.annotations import Box
from tasks.labels.formats.label_file import (
    NOTHING_MORE,
    ImageObjects,
    LabelFile,
    SharedContext,
    SharedLabels,
)
from tasks.labels.formats.xml_files import number_of
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import quoted

_SIDES = ("XMin", "XMax", "YMin", "YMax")
_COLUMNS = ("ImageID", "LabelName", *_SIDES)
_LONGEST_HEADING = 4096


def is_open_images(file: LabelFile) -> bool:
    """Whether the first line names the columns of boxes."""
    heading = file.beginning()[:_LONGEST_HEADING].split(b"\n", 1)[0].decode("utf-8", "replace")
    return set(_COLUMNS) <= {name.strip() for name in heading.split(",")}


def read_open_images(file: LabelFile, context: SharedContext = NOTHING_MORE) -> SharedLabels:
    """Read the boxes.

    The codes of the context are those of `LabelName` (`/m/0bt9lr`).
    A box around a group (`IsGroupOf`) is a crowd. The other columns, image-level labels and the
    files of masks and relations are not read.
    """
    log = label_log(file.path)
    images: dict[str, ImageObjects] = {}
    rows = csv.DictReader(io.StringIO(file.text(log)), skipinitialspace=True)
    try:
        for row in rows:
            line = rows.line_num
            image_id, code = (
                (row.get("ImageID") or "").strip(),
                (row.get("LabelName") or "").strip(),
            )
            if not image_id:
                log.add(ProblemCode.OBJECT_MALFORMED, "the row names no image", line)
                continue
            image = images.get(image_id)
            if image is None:
                name = PurePosixPath(image_id.replace("\\", "/"))
                image = images[image_id] = ImageObjects(name, file.path, None)
            if not code:
                image.log.add(ProblemCode.CLASS_UNKNOWN, "the row names no class", line)
                continue
            sides = [number for side in _SIDES if (number := number_of(row.get(side))) is not None]
            if len(sides) < len(_SIDES):
                written = " ".join(row.get(side) or "" for side in _SIDES)
                reason = f"the box is {quoted(written)}, not four numbers"
                image.log.add(ProblemCode.COORD_NOT_NUMBER, reason, line)
                continue
            left, right, top, bottom = sides
            box = Box((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
            is_group = (row.get("IsGroupOf") or "").strip() == "1"
            name_of_class = context.codes.get(code, code)
            image.add(name_of_class, [box], "the row", line=line, is_crowd=is_group)
    except csv.Error as error:
        log.add(ProblemCode.FILE_UNREADABLE, f"not CSV: {error}", rows.line_num)
    return SharedLabels(tuple(image.result() for image in images.values()), problems=log.entries())
