"""What a flow has returned, for people and for programs: by its name, whoever has started it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from deployments.cli.output.ingests import print_ingest
from deployments.cli.output.jobs import job_as_json, print_at_work
from deployments.cli.output.releases import print_release, print_releases
from deployments.cli.output.tables import print_report
from deployments.cli.output.terminal import print_json, print_plain, print_problem
from storage.database.connection import Database
from storage.inference.results import describe_run
from storage.inference.runs import find_run
from storage.jobs.records import JobRecord, find_job
from storage.projects.projects import find_project
from storage.releases import describe_release, find_release
from tasks.reports.report import counted


def print_result(name: str, database: Database, result: Any, *, doing: str = "") -> None:  # noqa: ANN401
    """Print what the flow of this name has returned; `doing` says what it did (the flow's name)."""
    if isinstance(result, dict) and result.get("already_running"):
        print_at_work(doing or name, result["job_id"])
    elif name in _KINDS:
        _KINDS[name].show(database, result)
    else:
        print_json(result)


def result_as_json(name: str, database: Database, result: Any) -> object:  # noqa: ANN401
    """What the flow of this name has returned, with what a program would ask for next."""
    return _KINDS[name].as_json(database, result) if name in _KINDS else result


@dataclass(frozen=True)
class _Kind:
    """How the result of a flow is shown, and what JSON is made of it."""

    show: Callable[[Database, Any], None]
    as_json: Callable[[Database, Any], object] = lambda _, result: result


def _job_of(database: Database, result: Mapping[str, Any]) -> JobRecord:
    return find_job(database, UUID(result["job_id"]))


def _show_ingests(_: Database, reports: list[dict[str, Any]]) -> None:
    for report in reports:
        print_ingest(report)
    if not reports:
        print_plain("There is no project yet; `visionflows run ingest-project FOLDER` makes one.")


def _show_quality(database: Database, result: dict[str, Any]) -> None:
    from deployments.cli.output.quality import print_quality

    job = _job_of(database, result)
    print_quality(database, find_project(database, job.subject), job, result)


def _quality_as_json(database: Database, result: dict[str, Any]) -> object:
    from deployments.cli.output.quality import quality_as_json

    job = _job_of(database, result)
    return quality_as_json(database, find_project(database, job.subject), job)


def _show_sessions(database: Database, result: dict[str, Any]) -> None:
    from deployments.cli.output.sessions import print_sessions_run

    job = _job_of(database, result)
    print_sessions_run(database, job.subject, job, result)


def _sessions_as_json(database: Database, result: dict[str, Any]) -> object:
    from deployments.cli.output.sessions import sessions_run_as_json

    job = _job_of(database, result)
    return sessions_run_as_json(database, job.subject, job)


def _show_run(database: Database, result: dict[str, Any]) -> None:
    from deployments.cli.output.runs import print_run

    print_run(database, find_run(database, result["run_id"]), result)


def _run_as_json(database: Database, result: dict[str, Any]) -> object:
    run = find_run(database, result["run_id"])
    return {
        "job": job_as_json(_job_of(database, result)),
        "run": describe_run(database, run),
    }


def _show_comparison(database: Database, result: dict[str, Any]) -> None:
    from tasks.inference.runs.report import comparison_report

    one, other = (find_run(database, result[f"{place}_run_id"]) for place in ("first", "second"))
    report = comparison_report(result, asdict(one), asdict(other))
    print_report(report, ("page", result["page"]))


def _show_evaluation(database: Database, result: dict[str, Any]) -> None:
    from storage.inference.evaluations import find_evaluation, load_mistakes
    from tasks.inference.evaluation.report import evaluation_report

    found = find_evaluation(database, result["evaluation_id"])
    mistakes = load_mistakes(database, found.id)
    values = {**vars(found), "mistakes": mistakes, "mistake_count": len(mistakes)}
    print_report(evaluation_report(values, result["snapshot"]), ("page", result["page"]))


def _show_training_set(_: Database, result: dict[str, Any]) -> None:
    # With it come the libraries that find near-duplicates, which no other result needs.
    from tasks.training_sets.report import training_set_report

    print_report(training_set_report(result), ("page", result["page"]))


def _show_created_release(database: Database, result: dict[str, Any]) -> None:
    print_release(database, find_release(database, result["release_id"]), result["problems"])


def _created_release_as_json(database: Database, result: dict[str, Any]) -> object:
    if result["already_running"]:
        return result
    release = find_release(database, result["release_id"])
    return {**result, "release": describe_release(database, release)}


def _show_releases(database: Database, result: dict[str, Any]) -> None:
    """One release whole, several as a list."""
    outcomes = result["releases"]
    is_one = len(outcomes) == 1
    releases = [find_release(database, outcome["release_id"]) for outcome in outcomes]
    for outcome, release in zip(outcomes, releases, strict=True):
        if outcome["outcome"] == "already_running":
            print_at_work(f"Reading {outcome['name']}", outcome["job_id"])
        elif is_one and outcome["outcome"] != "failed":
            print_release(database, release)
        elif not is_one and outcome["outcome"] == "failed":
            print_problem(f"{outcome['name']}: {outcome['message']}")
    if not is_one:
        if releases:
            print_releases(releases)
        counts = sorted(Counter(outcome["outcome"] for outcome in outcomes).items())
        shown = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in counts)
        print_plain(f"{shown or 'No release was to be built'}.")


def _releases_as_json(database: Database, result: dict[str, Any]) -> object:
    return [
        {
            **{name: outcome[name] for name in ("outcome", "job_id", "message", "page")},
            "release": describe_release(database, find_release(database, outcome["release_id"])),
        }
        for outcome in result["releases"]
    ]


def _show_pruned(_: Database, result: dict[str, Any]) -> None:
    print_plain(
        f"Removed {counted(result['removed'], 'snapshot')} ({result['bytes']:,} bytes) and "
        f"{counted(result['leftovers'], 'leftover')}; ended "
        f"{counted(len(result['finished']), 'removal')}; forgot "
        f"{counted(result['images'], 'image')} that nothing holds."
    )


_KINDS: dict[str, _Kind] = {
    "prune": _Kind(_show_pruned),
    "ingest-project": _Kind(_show_ingests),
    "quality-metrics": _Kind(_show_quality, _quality_as_json),
    "compute-session-stats": _Kind(_show_sessions, _sessions_as_json),
    "collection-inference": _Kind(_show_run, _run_as_json),
    "compare-runs": _Kind(_show_comparison),
    "evaluate-run": _Kind(_show_evaluation),
    "prepare-training-set": _Kind(
        _show_training_set,
        lambda database, result: {"job": job_as_json(_job_of(database, result)), **result},
    ),
    "create-release": _Kind(_show_created_release, _created_release_as_json),
    "build-release-stats": _Kind(_show_releases, _releases_as_json),
    "check-release-stats": _Kind(_show_releases, _releases_as_json),
}
