"""What is told of the sessions of a root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.reports.charts import completion_bar
from tasks.reports.report import Report, Table, count_table


def session_state(session: Mapping[str, Any]) -> str:
    """What is said of a session in one word: gone, still written, or what the generator says."""
    if session["folder_state"] != "present":
        return "missing"
    if session["is_ongoing"]:
        return "ongoing"
    # A generator that died has never said more than this.
    status = session["manifest_status"]
    return "stopped" if status == "ongoing" else (status or "–")


def completion_cells(session: Mapping[str, Any], cells: int = 10) -> tuple[str, str, str]:
    """How far a session is: a bar, percent, and images of those that were expected."""
    images = str(session["images_actual"])
    if not session["images_expected"]:
        return "", "–", images
    percentage = session["completion_percentage"]
    bar = completion_bar(percentage, cells)
    return bar, f"{percentage:.2f} %", f"{images} of {session['images_expected']}"


def model_table(models: Sequence[Mapping[str, Any]]) -> Table:
    """Sessions, images and mean completion by model: the fields of `ModelSessions`."""
    return Table(
        "Models",
        ("model", "sessions", "incomplete", "images", "expected", "mean completion", ""),
        [
            (
                model["sd_model"] or "–",
                *(str(model[name]) for name in _MODEL_COUNTS),
                "" if mean is None else completion_bar(mean),
                "–" if mean is None else f"{mean:.2f} %",
            )
            for model in models
            for mean in (model["mean_completion"],)
        ],
        brief=None,
    )


_MODEL_COUNTS = ("sessions", "incomplete", "images", "images_expected")


def sessions_report(
    root: str,
    overview: Mapping[str, Any],
    result: Mapping[str, Any],
    counts: tuple[int, int],
    left_out: Sequence[tuple[str, str]] = (),
    more_left_out: int = 0,
) -> Report:
    """The sessions of a root: incomplete ones, models, problems, and what could not be read.

    `overview` has the fields of `storage.sessions.queries.SessionOverview`; `result` tells how many
    sessions were `unchanged`, and the `snapshot`. `counts` are the sessions that this run has
    computed, and how many of them failed; `left_out` has folders, and why, besides
    `more_left_out`.
    """
    places = [("snapshot", str(result["snapshot"]))]
    if not overview["sessions"]:
        nothing = (
            f"There is no session in {root}: a session is a folder in it with a manifest.json or "
            "an image."
        )
        return Report(
            f"Sessions in {root}", [nothing], [_left_out(left_out, more_left_out)], places=places
        )
    incomplete = overview["incomplete_sessions"]
    missing = f", {overview['missing']} missing" if overview["missing"] else ""
    return Report(
        title=f"Sessions in {root}",
        sentences=[
            f"{counts[0]} computed and {counts[1]} failed in this run, "
            f"{result['unchanged']} unchanged; {overview['sessions']} sessions with "
            f"{overview['images']} images, {overview['expected']} expected; "
            f"{overview['incomplete']} incomplete, {overview['ongoing']} ongoing, "
            f"{overview['sweeps']} seed sweeps{missing}.",
            _mean_in_words(overview["mean_completion"]),
        ],
        tables=[
            Table(
                "Incomplete sessions",
                ("completion", "", "images", "state", "session", "model"),
                [
                    (
                        *completion_cells(session),
                        session_state(session),
                        session["session_id"],
                        session["sd_model"] or "–",
                    )
                    for session in incomplete
                ],
                more=overview["incomplete"] - len(incomplete),
            ),
            model_table(overview["models"]),
            count_table("Sources", overview["sources"], "told by", "sessions"),
            count_table("Problems", overview["problems"], "problem", "sessions"),
            Table("Not read", ("session", "reason"), overview["failures"]),
            _left_out(left_out, more_left_out),
        ],
        places=places,
    )


def _mean_in_words(mean: float | None) -> str:
    if mean is None:
        return "Mean completion –: no session tells how many images it expected."
    return f"Mean completion {mean:.2f} %."


def _left_out(folders: Sequence[tuple[str, str]], more: int) -> Table:
    return Table("Left out", ("folder", "reason"), folders, more=more)
