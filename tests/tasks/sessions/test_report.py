"""The report on sessions: bars, rows and Markdown in which names are only names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reports.charts import completion_bar
from tasks.reports.markdown import report_markdown
from tasks.sessions.report import completion_cells, session_state, sessions_report


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


SESSION = {
    "session_id": "s",
    "completion_percentage": 62.5,
    "images_actual": 5,
    "images_expected": 8,
    "sd_model": None,
    "is_ongoing": False,
    "manifest_status": "aborted",
    "folder_state": "present",
}


def test_rows_of_incomplete_sessions_say_how_far_and_why():
    assert completion_cells(SESSION) == ("██████▎░░░", "62.50 %", "5 of 8")
    assert completion_cells(SESSION | {"images_expected": 0}) == ("", "–", "5")
    assert session_state(SESSION) == "aborted"
    assert session_state(SESSION | {"is_ongoing": True}) == "ongoing"
    assert session_state(SESSION | {"manifest_status": "ongoing"}) == "stopped", (
        "nothing is written, and the generator never said it is over"
    )
    assert session_state(SESSION | {"manifest_status": None}) == "–"


def markdown(**changed):
    model = {"sessions": 2, "incomplete": 1, "images": 7, "images_expected": 8}
    overview = {
        "sessions": 2,
        "missing": 0,
        "images": 7,
        "expected": 8,
        "incomplete": 1,
        "ongoing": 0,
        "sweeps": 1,
        "mean_completion": 87.5,
        "incomplete_sessions": [SESSION],
        "models": [
            {"sd_model": "[x](y)|z", "mean_completion": 87.5, **model},
            {"sd_model": None, "mean_completion": None, **dict.fromkeys(model, 0)},
        ],
        "sources": {"manifest": 2},
        "problems": {"manifest_empty": 1},
        "failures": [("closed", "Permission denied")],
    }
    left_out = changed.pop("left_out", [("a|b", "a link")])
    result = {"unchanged": 1, "snapshot": "/snapshots/s.parquet"}
    return report_markdown(
        sessions_report("/sessions/_x_", overview | changed, result, (1, 0), left_out)
    )


def test_the_summary_has_every_figure_and_names_are_not_markup():
    text = markdown()
    assert "1 computed and 0 failed in this run, 1 unchanged; 2 sessions with 7 images, 8" in text
    assert "8 expected; 1 incomplete" in text
    assert "Mean completion 87.50 %." in text
    assert "| `██████▎░░░` | 62.50 % | 5 of 8 | aborted | s | – |" in text
    assert "| \\[x\\]\\(y\\)\\|z | 2 | 1 | 7 | 8 | `████████▊░` | 87.50 % |" in text
    assert "| – | 0 | 0 | 0 | 0 |  | – |" in text
    assert "| manifest\\_empty | 1 |" in text
    assert "## Not read" in text and "| closed | Permission denied |" in text
    assert "## Left out" in text and "| a\\|b | a link |" in text
    assert "/sessions/\\_x\\_" in text


def test_what_there_is_nothing_of_has_no_table():
    nothing = {name: {} for name in ("models", "problems", "failures", "incomplete_sessions")}
    text = markdown(**nothing, left_out=[], mean_completion=None, incomplete=0)
    assert "| model |" not in text and "| problem |" not in text
    assert text.count("##") == 1, "what told of the sessions"
    assert "Mean completion –: no session tells how many images it expected." in text
    assert "There is no session in" in markdown(sessions=0)
