"""The sessions of a root as Markdown and table rows, for Prefect's artifacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.reports.charts import completion_bar
from tasks.reports.markdown import escape


def session_state(session: Mapping[str, Any]) -> str:
    """What is said of a session in one word: gone, still written, or what the generator says."""
    if session["folder_state"] != "present":
        return "missing"
    if session["is_ongoing"]:
        return "ongoing"
    # A generator that died has never said more than this.
    status = session["manifest_status"]
    return "stopped" if status == "ongoing" else (status or "–")


def incomplete_session_rows(sessions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per incomplete session: id, bar, figures, model and state."""
    return [
        {
            "session": session["session_id"],
            "completion": f"{completion_bar(session['completion_percentage'])} "
            f"{session['completion_percentage']:.2f} %",
            "images": f"{session['images_actual']} of {session['images_expected']}",
            "model": session["sd_model"] or "–",
            "state": session_state(session),
        }
        for session in sessions
    ]


def sessions_markdown(
    root: str,
    *,
    counts: Mapping[str, int],
    mean_completion: float | None,
    models: Sequence[Mapping[str, Any]],
    sources: Mapping[str, int],
    problems: Mapping[str, int],
    failures: Sequence[tuple[str, str]],
    left_out: Sequence[tuple[str, str]],
    snapshot: str,
) -> str:
    """The summary of the sessions of a root as a Markdown page.

    Args:
        root: the sessions' root.
        counts: `sessions`, `missing`, `images`, `expected`, `incomplete`, `ongoing`, `sweeps`.
        mean_completion: in percent, over sessions that expect images; None without any.
        models: `sd_model`, `sessions`, `incomplete`, `images` and `mean_completion` of each.
        sources: how many sessions were told by what.
        problems: how many sessions have a problem of each kind.
        failures: id and reason of sessions that could not be looked at.
        left_out: folders that were left out of the search, and why.
        snapshot: where all of it lies.
    """
    lines = [
        f"# Sessions in {escape(root)}",
        "",
        f"{counts['sessions']} sessions with {counts['images']} images, {counts['expected']} "
        f"expected; {counts['incomplete']} incomplete, {counts['ongoing']} ongoing, "
        f"{counts['sweeps']} seed sweeps, {counts['missing']} missing. "
        f"Mean completion {_percent(mean_completion)}.",
        "",
    ]
    if models:
        lines += _table(
            "| model | sessions | incomplete | images | mean completion |",
            "|---|---:|---:|---:|---|",
            (
                f"| {escape(model['sd_model'] or '–')} | {model['sessions']} "
                f"| {model['incomplete']} | {model['images']} "
                f"| {_bar_and_percent(model['mean_completion'])} |"
                for model in models
            ),
        )
    lines += _table(
        "| told by | sessions |",
        "|---|---:|",
        (f"| {escape(name)} | {count} |" for name, count in sources.items()),
    )
    if problems:
        lines += _table(
            "| problem | sessions |",
            "|---|---:|",
            (f"| {escape(name)} | {count} |" for name, count in problems.items()),
        )
    for title, rows in (("Not looked at", failures), ("Left out", left_out)):
        if rows:
            lines += [
                f"## {title}",
                "",
                *_table(
                    "| folder | reason |",
                    "|---|---|",
                    (f"| {escape(name)} | {escape(reason)} |" for name, reason in rows),
                ),
            ]
    lines += [f"Snapshot: {escape(snapshot)}", ""]
    return "\n".join(lines)


def _table(head: str, rule: str, rows: Iterable[str]) -> list[str]:
    return [head, rule, *rows, ""]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} %"


def _bar_and_percent(value: float | None) -> str:
    return "–" if value is None else f"`{completion_bar(value)}` {value:.2f} %"
