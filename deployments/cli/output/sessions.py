"""What the commands about sessions print: tables for people, plain values for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.table import Table

from deployments.cli.output.jobs import job_as_json
from deployments.cli.output.terminal import console, plain, print_plain
from storage.database.connection import Database
from storage.jobs.records import JobRecord
from storage.session_queries import ModelSessions, load_session_overview, model_files
from tasks.reports.charts import completion_bar
from tasks.sessions.report import session_state

_ROWS = 10
_LONGEST_TEXT = 300


def sessions_run_as_json(database: Database, root: str, job: JobRecord) -> dict[str, Any]:
    """The job and the sessions of its root, for `--json`."""
    overview = load_session_overview(database, root)
    return {"job": job_as_json(job), "sessions_root": root, "sessions": asdict(overview)}


def print_sessions_run(database: Database, root: str, job: JobRecord) -> None:
    """The sessions of a root as tables, and where the whole of it lies."""
    overview = load_session_overview(database, root, most_rows=_ROWS)
    result = job.result or {}
    if not overview.sessions:
        print_plain(
            f"There is no session in {root}: a session is a folder in it with a manifest.json or "
            "an image."
        )
        return
    print_plain(
        f"{job.processed} computed and {job.failed} failed in this run, "
        f"{result.get('unchanged', 0)} unchanged; {overview.sessions} sessions in {root} with "
        f"{overview.images} images, {overview.expected} expected; {overview.incomplete} "
        f"incomplete, {overview.ongoing} ongoing, {overview.sweeps} seed sweeps"
        + (f", {overview.missing} missing." if overview.missing else ".")
    )
    if overview.incomplete_sessions:
        console.print()
        console.print(_incomplete(overview.incomplete_sessions))
    if overview.models:
        console.print()
        console.print(model_table(overview.models))
    if overview.problems:
        console.print()
        console.print(_problems(overview.problems))
    if overview.failures:
        console.print()
        console.print(_failures(overview.failures))
    snapshot = result.get("snapshot")
    if snapshot:
        console.print()
        print_plain(f"Snapshot: {snapshot}")


def _table(title: str | None) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=None, header_style="dim"
    )


def _incomplete(sessions: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("Incomplete sessions")
    table.add_column("completion", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    table.add_column("state")
    table.add_column("session", overflow="fold")
    for session in sessions:
        table.add_row(
            _completion(session),
            _images(session),
            plain(session_state(session)),
            plain(session["session_id"]),
        )
    return table


def model_table(models: Sequence[ModelSessions]) -> Table:
    """Sessions, images and mean completion by model."""
    table = _table("Models")
    table.add_column("model", overflow="fold")
    for title in ("sessions", "incomplete", "images", "expected"):
        table.add_column(title, justify="right")
    table.add_column("mean completion", no_wrap=True)
    for model in models:
        mean = model.mean_completion
        table.add_row(
            plain(model.sd_model or "–"),
            str(model.sessions),
            str(model.incomplete),
            str(model.images),
            str(model.images_expected),
            "–" if mean is None else f"{completion_bar(mean)} {mean:.2f} %",
        )
    return table


def _problems(problems: Mapping[str, int]) -> Table:
    table = _table("Problems")
    table.add_column("problem")
    table.add_column("sessions", justify="right")
    for code, count in problems.items():
        table.add_row(code, str(count))
    return table


def _failures(failures: Sequence[tuple[str, str]]) -> Table:
    table = _table("Not read")
    table.add_column("session", overflow="fold")
    table.add_column("reason", overflow="fold")
    for session_id, reason in failures:
        table.add_row(plain(session_id), plain(reason))
    return table


def session_table(sessions: Sequence[Mapping[str, Any]]) -> Table:
    """Sessions, one a line."""
    table = _table(None)
    table.add_column("began", no_wrap=True)
    table.add_column("completion", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    table.add_column("sweep")
    table.add_column("state")
    table.add_column("model", overflow="fold")
    table.add_column("session", overflow="fold")
    for session in sessions:
        began = session["session_created_at"] or session["first_image_created_at"]
        marks = [*session["tags"], *(["★" * session["rating"]] if session["rating"] else [])]
        table.add_row(
            _time(began),
            _completion(session, cells=5),
            _images(session),
            "yes" if session["is_seed_sweep"] else "",
            plain(session_state(session)),
            plain(model_files(session["sd_model"] or "–")[0]),
            plain("  ".join([session["session_id"], *marks])),
        )
    return table


_SHOWN = (
    *("session_path", "folder_state", "missing_since", "error_message"),
    *("images_actual", "images_expected", "completion_percentage", "is_seed_sweep", "is_ongoing"),
    *("manifest_status", "sd_model", "sd_model_hash", "generation_mode", "seed_mode", "seed_base"),
    *("seed_min", "seed_max", "sampler_name", "steps", "cfg_scale", "width", "height"),
    *("resolved_prompt", "negative_prompt", "template_version", "placeholders_json"),
    *("variations_summary_json", "session_created_at", "manifest_generated_at"),
    *("first_image_created_at", "last_image_created_at", "images_listed", "images_listed_absent"),
    *("images_unlisted", "images_sampled", "stats_source", "stats_version", "stats_computed_at"),
    *("tags", "flags", "rating", "note"),
)


def print_session(session: Mapping[str, Any]) -> None:
    """All that is known of one session, and what is wrong with it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("session_id", plain(session["session_id"]))
    for name in _SHOWN:
        value = session[name]
        if value is not None and value not in ("", [], {}):
            table.add_row(name, plain(_shown(name, value)))
    console.print(table)
    if session["problems"]:
        console.print()
        problems = _table("Problems")
        problems.add_column("problem")
        problems.add_column("place and reason", overflow="fold")
        for problem in session["problems"]:
            place = f"{problem['place']}: " if problem["place"] else ""
            problems.add_row(problem["code"], plain(f"{place}{problem['reason']}"))
        console.print(problems)


def _shown(name: str, value: Any) -> str:  # noqa: ANN401 - any column
    if isinstance(value, datetime):
        return _time(value)
    if name == "completion_percentage":
        return f"{completion_bar(value)} {value:.2f} %"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_listed(item)}" for key, item in value.items())
    text = _listed(value)
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def _listed(value: Any) -> str:  # noqa: ANN401
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _completion(session: Mapping[str, Any], cells: int = 10) -> str:
    if not session["images_expected"]:
        return "–"
    percentage = session["completion_percentage"]
    return f"{completion_bar(percentage, cells)} {percentage:>6.2f} %"


def _images(session: Mapping[str, Any]) -> str:
    if not session["images_expected"]:
        return str(session["images_actual"])
    return f"{session['images_actual']} of {session['images_expected']}"


def _time(value: datetime | None) -> str:
    """A time on the clock of whoever reads it."""
    return "–" if value is None else value.astimezone().strftime("%Y-%m-%d %H:%M")
