from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tasks.sessions.folders.names import stated_time, time_in_name
from tasks.sessions.metadata.model_names import split_model_name

CREATED = datetime(2025, 10, 14, 17, 33, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "20251014_173320-facial_expressions",
        "2025-10-14_173320_facial.prompt",
        "20251014_173320",
        "2025-10-14_173320",
    ],
)
def test_both_forms_of_dates_are_read(name):
    assert time_in_name(name, UTC) == CREATED


@pytest.mark.parametrize(
    "name",
    [
        "portraits",
        "",
        "20251014",
        "20251314_173320-no_such_month",
        "2025-02-30_173320_no_such_day",
        "20251014_253320-no_such_hour",
        "2025-1014_173320-mixed",
        "20251014_1733201-too_many_digits",
        "x20251014_173320-not_at_the_start",
        "٢٠٢٥1014_173320-other_digits",
        "00000101_000000-no_such_year",
    ],
)
def test_other_names_tell_no_time(name):
    assert time_in_name(name, UTC) is None


def test_a_time_is_told_in_utc_whatever_clock_it_was_taken_from():
    east = timezone(timedelta(hours=2))
    assert time_in_name("20251014_193320-x", east) == CREATED
    assert time_in_name("20251014_193320-x", east).utcoffset() == timedelta(0)
    assert time_in_name("00010101_000000-x", east) is None  # before the first year in UTC


def test_without_a_zone_the_clock_is_this_machines():
    local = datetime(2025, 10, 14, 17, 33, 20).astimezone()
    assert time_in_name("20251014_173320-x") == local


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-10-14T17:33:20Z", CREATED),
        ("2025-10-14T19:33:20+02:00", CREATED),
        ("2025-10-14T17:33:20.250000", CREATED + timedelta(milliseconds=250)),
        (" 2025-10-14 17:33:20 ", CREATED),
    ],
)
def test_stated_times(text, expected):
    assert stated_time(text, UTC) == expected


@pytest.mark.parametrize("text", ["yesterday", "", "0001-01-01T00:00:00+23:00"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        stated_time(text, UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("anime_v1.safetensors [abc123def456]", ("anime_v1.safetensors", "abc123def456")),
        ("dir/anime v1.ckpt [C0D1994C73] ", ("dir/anime v1.ckpt", "c0d1994c73")),
        ("anime_v1.safetensors [hash]", ("anime_v1.safetensors", "hash")),
        ("anime_v1.safetensors", ("anime_v1.safetensors", None)),
        ("dreamlike [v2]", ("dreamlike [v2]", None)),
        ("[abc123def456]", ("[abc123def456]", None)),
        ("unknown", (None, None)),
        ("", (None, None)),
        (None, (None, None)),
    ],
)
def test_a_checkpoint_is_split_into_name_and_hash(text, expected):
    assert split_model_name(text) == expected
