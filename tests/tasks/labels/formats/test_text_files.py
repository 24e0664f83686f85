"""Label files in every encoding that programs write them in."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.labels.formats.text_files import decode_text, numbered_lines
from tasks.labels.problems import LISTED_PER_KIND, ProblemCode, label_log
from tasks.reports.problem_log import quoted
from tests.tasks.labels.label_samples import codes

FILE = PurePosixPath("labels/a.txt")
TEXT = "0 0.5 0.5\n1 0.1 0.1\n"


def decoded(content: bytes):
    log = label_log(FILE)
    return decode_text(content, log), log.entries()


@pytest.mark.parametrize(
    ("encoding", "expected_codes"),
    [
        ("utf-8", []),
        ("utf-8-sig", ["bom"]),
        ("utf-16", ["encoding_utf16"]),
        ("utf-16-le", ["encoding_utf16"]),
        ("utf-16-be", ["encoding_utf16"]),
        ("utf-32", ["encoding_utf32"]),
    ],
)
@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n", "\r\n"), TEXT.replace("\n", "\r")])
def test_all_encodings_and_line_ends_give_the_same_text(encoding, expected_codes, text):
    found, problems = decoded(text.encode(encoding))
    assert found == TEXT
    assert codes(problems) == expected_codes


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_of_other_scripts_without_a_mark_is_recognised(encoding):
    assert decoded("猫\nчашка\n".encode(encoding))[0] == "猫\nчашка\n"


def test_utf16_big_endian_with_a_mark():
    found, problems = decoded(b"\xfe\xff" + TEXT.encode("utf-16-be"))
    assert (found, codes(problems)) == (TEXT, ["encoding_utf16"])


def test_a_byte_that_is_not_utf8_is_a_problem_with_its_line_and_the_rest_is_read():
    found, problems = decoded("0 1\n1 2\ncaf\xe9 3\n4 5\n".encode("latin-1"))
    assert found == "0 1\n1 2\ncaf\ufffd 3\n4 5\n"
    (problem,) = problems
    assert (problem.code, problem.place, problem.line) == ("encoding_unreadable", str(FILE), 3)
    assert "byte 11" in problem.reason


@pytest.mark.parametrize("content", [b"0 1\n\0\0\0", b"a\0b", b"\0\0", b"\x01\0\x02\0"])
def test_zero_bytes_that_are_no_utf16_are_a_problem(content):
    assert "encoding_unreadable" in codes(decoded(content)[1])


@given(st.binary(max_size=200))
def test_no_content_raises(content):
    decoded(content)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff")))
def test_utf8_text_comes_back_as_it_is(text):
    assert decoded(text.encode()) == (text, ())


def test_lines_are_those_of_an_editor():
    assert list(numbered_lines("a\x0cb\n\nc")) == [(1, "a\x0cb"), (2, ""), (3, "c")]


def test_a_log_lists_the_first_problems_and_counts_the_rest():
    log = label_log(FILE)
    for line in range(LISTED_PER_KIND + 7):
        log.add(ProblemCode.ROW_TOO_SHORT, "short", line)
    log.add(ProblemCode.BOM, "mark")
    entries = log.entries()
    assert len(entries) == LISTED_PER_KIND + 2
    assert (entries[-1].code, entries[-1].line, entries[-1].count) == ("row_too_short", None, 7)
    assert sum(entry.count for entry in entries) == LISTED_PER_KIND + 8


@pytest.mark.parametrize(
    "value", ["x" * 10**4, 1 << 40_000, [[1] * 1000] * 1000, 1.5, None, True], ids=type
)
def test_quoted_values_are_short(value):
    assert len(quoted(value)) < 50
