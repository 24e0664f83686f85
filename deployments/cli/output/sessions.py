"""What the commands about sessions print: tables for people, plain values for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.table import Table as RichTable

from deployments.cli.output.jobs import job_as_json
from deployments.cli.output.tables import print_list, print_report, print_table
from deployments.cli.output.terminal import console, plain, rows_to_load
from storage.database.connection import Database
from storage.jobs.records import JobRecord
from storage.sessions.queries import load_session_overview, model_files
from tasks.reports.report import Table
from tasks.sessions.report import completion_cells, session_state, sessions_report

_LONGEST_TEXT = 300


def sessions_run_as_json(database: Database, root: str, job: JobRecord) -> dict[str, Any]:
    """The job and the sessions of its root, for `--json`."""
    overview = load_session_overview(database, root)
    return {"job": job_as_json(job), "sessions_root": root, "sessions": asdict(overview)}


def print_sessions_run(
    database: Database, root: str, job: JobRecord, result: dict[str, Any]
) -> None:
    """The sessions of a root after a run, and where the whole of it lies."""
    overview = asdict(load_session_overview(database, root, most_rows=rows_to_load()))
    # A run of an earlier release has told only their number.
    left_out = [(folder, reason) for folder, reason in result.get("left_out_folders", [])]
    counts = job.processed, job.failed
    report = sessions_report(
        root, overview, result, counts, left_out, more_left_out=result["left_out"] - len(left_out)
    )
    print_report(report, ("page", result["page"]))


def print_sessions(sessions: Sequence[Mapping[str, Any]]) -> None:
    """Sessions, one a line."""
    print_list(
        ("began", "done", "", "images", "sweep", "state", "model", "session"),
        [
            (
                _time(session["session_created_at"] or session["first_image_created_at"]),
                *completion_cells(session, cells=5),
                "yes" if session["is_seed_sweep"] else "",
                session_state(session),
                model_files(session["sd_model"] or "–")[0],
                "  ".join(
                    [
                        session["session_id"],
                        *session["tags"],
                        *(["★" * session["rating"]] if session["rating"] else []),
                    ]
                ),
            )
            for session in sessions
        ],
    )


# Told elsewhere, or of no use to people.
_NOT_SHOWN = frozenset(["session_id", "problems", "look_again", "sessions_root", "relative_path"])


def print_session(session: Mapping[str, Any]) -> None:
    """All that is known of one session, and what is wrong with it."""
    table = RichTable(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("session_id", plain(session["session_id"]))
    for name, value in session.items():
        if name == "completion_percentage":
            table.add_row(name, " ".join(completion_cells(session)[:2]).strip())
        elif name not in _NOT_SHOWN and value is not None and value not in ("", [], {}):
            table.add_row(name, plain(_shown(name, value)))
    console.print(table)
    if session["problems"]:
        console.print()
        print_table(
            Table(
                "Problems",
                ("problem", "place", "reason"),
                [(one["code"], one["place"], one["reason"]) for one in session["problems"]],
                brief=None,
            )
        )


def _shown(name: str, value: Any) -> str:  # noqa: ANN401 - any column
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_listed(item)}" for key, item in value.items())
    text = _listed(value)
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def _listed(value: Any) -> str:  # noqa: ANN401
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _time(value: datetime | None) -> str:
    """A time on the clock of whoever reads it."""
    return "–" if value is None else value.astimezone().strftime("%Y-%m-%d %H:%M")
