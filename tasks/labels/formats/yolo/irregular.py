"""Label files with more than plain numbers, read line by line.

Byte order marks, UTF-16, comments, class names, commas, NaN, old line ends: rare, and exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from tasks.labels.formats.class_files import class_id_of
from tasks.labels.formats.text_files import decode_text
from tasks.labels.formats.yolo.geometry import BOX_VALUES, rows_of
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import quoted

_NO_FILE = PurePosixPath()


@dataclass(frozen=True)
class IrregularRows:
    """The rows of one file that are numbers after all, and what is wrong with the others.

    `rows` are the line from 1 and the values, class included; `problems` the code, line (None for
    the file) and what is wrong. `bad_rows` gave no values.
    """

    rows: list[tuple[int, list[float]]]
    problems: list[tuple[str, int | None, str]]
    bad_rows: int


def read_irregular(content: bytes, ids_by_name: Mapping[str, int]) -> IrregularRows:
    """Read one label file line by line; a row may begin with a class name instead of an id."""
    log = label_log(_NO_FILE)
    text = decode_text(content, log)
    problems: list[tuple[str, int | None, str]] = [
        (entry.code, entry.line, entry.reason) for entry in log.entries()
    ]
    rows: list[tuple[int, list[float]]] = []
    bad_rows = 0
    for line, row, words in rows_of(text):
        values, problem = _row(row, words, ids_by_name)
        if problem is not None:
            problems.append((problem[0], line, problem[1]))
            bad_rows += 1
        else:
            rows.append((line, values))
    return IrregularRows(rows, problems, bad_rows)


def _row(
    row: str, words: list[str], ids_by_name: Mapping[str, int]
) -> tuple[list[float], tuple[str, str] | None]:
    """Read one row: its values, or code and reason why there are none."""
    if len(words) < BOX_VALUES:
        code = ProblemCode.SEPARATOR_COMMA if "," in row else ProblemCode.ROW_TOO_SHORT
        return [], (code, f"{len(words)} values, not at least {BOX_VALUES}")
    class_id = class_id_of(words[0])
    if class_id is None:
        class_id = ids_by_name.get(words[0])
    if class_id is None:
        return [], _class_problem(words[0])
    values = [float(class_id)]
    for word in words[1:]:
        try:
            values.append(float(word))
        except ValueError:
            code = ProblemCode.SEPARATOR_COMMA if "," in word else ProblemCode.COORD_NOT_NUMBER
            return [], (code, f"{quoted(word)} is not a number")
    for word, value in zip(words[1:], values[1:], strict=True):
        if not math.isfinite(value):
            return [], (ProblemCode.COORD_NOT_FINITE, f"{quoted(word)} is not finite")
    return values, None


def _class_problem(word: str) -> tuple[str, str]:
    """Say what is wrong with the first word of a row."""
    try:
        float(word)
    except ValueError:
        code = ProblemCode.SEPARATOR_COMMA if "," in word else ProblemCode.CLASS_UNKNOWN
        return code, f"{quoted(word)} is neither a class id nor a known class name"
    return ProblemCode.CLASS_NOT_INTEGER, f"the class {quoted(word)} is no id"
