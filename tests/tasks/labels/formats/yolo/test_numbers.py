"""Bulk parsing of label files against reading them line by line with `float`."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.labels.formats.yolo.numbers import parse_label_files

NUMBERS = st.one_of(
    st.floats(0, 1).map(lambda value: f"{value:.6f}"),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.from_regex(r"-?[0-9]{0,18}\.?[0-9]{0,18}", fullmatch=True),
    st.sampled_from(["-0.0", ".5", "5.", "+1.5", "1e-05", "1E3", "0.1.2", "-", "..", "1-2", "e5"]),
)
BLANKS = st.sampled_from([" ", "  ", "\t", " \t "])
ENDS = st.sampled_from(["\n", "\r\n", "\n\n", " \n"])
LINES = st.builds(
    lambda before, words, blank: before + blank.join(words),
    st.sampled_from(["", " ", "\t"]),
    st.lists(NUMBERS, max_size=7),
    BLANKS,
)
FILES = st.builds(
    lambda lines, end, last: end.join(lines) + last,
    st.lists(LINES, max_size=6),
    ENDS,
    st.sampled_from(["", "\n", "\r\n"]),
)
ODD = st.sampled_from(["x", "nan", "0,5 1", "\ufeff0 1", "# 0 1", "0 1\r0 2", "\0", "\x0c"])


def line_by_line(content: bytes):
    """Line and values of each row; None for a file that is more than plain numbers."""
    text = content.decode()
    if set(text) - set("0123456789.+-eE \t\r\n") or "\r" in text.replace("\r\n", ""):
        return None
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            return None
        if values:
            rows.append((number, values))
    return rows


@given(st.lists(st.one_of(FILES, FILES, FILES, ODD), max_size=6))
@example(["", "0 1", ""])
@example(["123456789012345 0.00000000000001"])
@example(["1.23456789012345 12345678.9012345 0.123456789012345"])
def test_every_number_is_the_one_that_float_reads(texts):
    contents = [text.encode() for text in texts]
    rows, irregular = parse_label_files(contents)
    expected = [line_by_line(content) for content in contents]
    assert irregular == [file for file, one in enumerate(expected) if one is None]
    found = [
        (file, line, rows.values[first : first + count].tolist())
        for file, line, first, count in zip(
            rows.files.tolist(), rows.lines.tolist(), rows.firsts.tolist(), rows.counts.tolist(),
            strict=True,
        )
    ]  # fmt: skip
    wanted = [
        (file, line, values) for file, one in enumerate(expected) for line, values in one or ()
    ]
    assert found == wanted
    # Equality does not tell zeros apart.
    assert np.signbit(rows.values).tolist() == [
        bool(np.signbit(value)) for _, _, values in wanted for value in values
    ]


def test_no_files():
    rows, irregular = parse_label_files([])
    assert len(rows) == 0
    assert irregular == []
