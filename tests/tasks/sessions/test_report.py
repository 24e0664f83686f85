"""The report on sessions: bars, rows and Markdown in which names are only names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reports.charts import completion_bar
from tasks.sessions.report import incomplete_session_rows, sessions_markdown


@pytest.mark.parametrize(
    ("percentage", "bar"),
    [
        (0, "░░░░░░░░░░"),
        (0.01, "▏░░░░░░░░░"),
        (12.5, "█▎░░░░░░░░"),
        (50, "█████░░░░░"),
        (99.99, "█████████▉"),
        (100, "██████████"),
        (250, "██████████"),
        (-1, "░░░░░░░░░░"),
    ],
)
def test_a_bar_is_full_only_when_all_is_there(percentage, bar):
    assert completion_bar(percentage) == bar


@given(st.floats(0, 1000), st.integers(1, 40))
def test_a_bar_is_always_as_long_as_asked_for(percentage, cells):
    bar = completion_bar(percentage, cells)
    assert len(bar) == cells
    assert (bar == "█" * cells) == (percentage >= 100)


def test_rows_of_incomplete_sessions_say_how_far_and_why():
    session = {
        "session_id": "s",
        "completion_percentage": 62.5,
        "images_actual": 5,
        "images_expected": 8,
        "sd_model": None,
        "is_ongoing": False,
        "manifest_status": "aborted",
        "folder_state": "present",
    }
    (row,) = incomplete_session_rows([session])
    assert row["completion"] == "██████▎░░░ 62.50 %"
    assert (row["images"], row["model"], row["state"]) == ("5 of 8", "–", "aborted")
    (row,) = incomplete_session_rows([{**session, "is_ongoing": True}])
    assert row["state"] == "ongoing"
    (row,) = incomplete_session_rows([{**session, "manifest_status": "ongoing"}])
    assert row["state"] == "stopped", "nothing is written, and the generator never said it is over"
    (row,) = incomplete_session_rows([{**session, "manifest_status": None}])
    assert row["state"] == "–"


def markdown(**changed):
    counts = {"sessions": 2, "missing": 0, "images": 7, "expected": 8, "incomplete": 1}
    values = {
        "counts": {**counts, "ongoing": 0, "sweeps": 1},
        "mean_completion": 87.5,
        "models": [
            {
                "sd_model": "[x](y)|z",
                "sessions": 2,
                "incomplete": 1,
                "images": 7,
                "mean_completion": 87.5,
            },
            {
                "sd_model": None,
                "sessions": 1,
                "incomplete": 0,
                "images": 0,
                "mean_completion": None,
            },
        ],
        "sources": {"manifest": 2},
        "problems": {"manifest_empty": 1},
        "failures": [("closed", "Permission denied")],
        "left_out": [("a|b", "a link")],
        "snapshot": "/snapshots/s.parquet",
    }
    return sessions_markdown("/sessions/_x_", **{**values, **changed})


def test_the_summary_has_every_figure_and_names_are_not_markup():
    text = markdown()
    assert "2 sessions with 7 images, 8 expected; 1 incomplete" in text
    assert "Mean completion 87.50 %." in text
    assert "| \\[x\\]\\(y\\)\\|z | 2 | 1 | 7 | `████████▊░` 87.50 % |" in text
    assert "| – | 1 | 0 | 0 | – |" in text
    assert "| manifest\\_empty | 1 |" in text
    assert "## Not looked at" in text and "| closed | Permission denied |" in text
    assert "## Left out" in text and "| a\\|b | a link |" in text
    assert "/sessions/\\_x\\_" in text


def test_what_there_is_nothing_of_has_no_table():
    text = markdown(models=[], problems={}, failures=[], left_out=[], mean_completion=None)
    assert "| model |" not in text and "| problem |" not in text and "##" not in text
    assert "Mean completion –." in text
