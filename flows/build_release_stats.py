"""build-release-stats: every fact about release archives, without unpacking them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect import runtime, unmapped
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Cancelled, Completed, Failed

from flows.running.job import flow_run_id, waiting_job_id
from storage.database.connection import Database, open_database
from storage.errors import InvalidInputError
from storage.files.places import place_of
from storage.jobs.stopping import stop_was_asked
from storage.releases import (
    ReleaseRecord,
    find_release,
    list_releases_to_build,
    register_release,
)
from storage.settings import check_within_data_roots, get_settings
from tasks.releases.steps import (
    BuildOptions,
    BuildOutcome,
    BuildReport,
    build_release,
    queue_outdated_releases,
)
from tasks.running.decorators import flow

# Builds that wait for a worker: enough that none idles, few enough that a cancellation is quick.
_WAITING_PER_WORKER = 4
_LOOK_SECONDS = 1.0


def _run_name(values: Mapping[str, Any]) -> str:
    if values["archive"]:
        return f"statistics of {place_of(values['archive']).name}"
    if values["release"]:
        return f"statistics of {find_release(open_database(), values['release']).name}"
    return "statistics of all releases that need them"


@flow(name="build-release-stats", run_name=_run_name)
def build_release_stats(
    release: str = "",
    archive: str = "",
    force: bool = False,
    verify: bool = False,
) -> State[dict[str, Any]]:
    """Compute the statistics of releases: images per split, classes, shapes, problems.

    One release by its name or id, or one archive (which is registered), or without both every
    release whose statistics are pending or stale. A release that cannot be read is failed with the
    reason, keeps its earlier statistics, and does not stop the others.

    Args:
        release: Name or id of a registered release.
        archive: Path of a ZIP archive, or its URL in a bucket.
        force: Compute also where the archive has not changed.
        verify: Count the members also where the archive brings figures of its own, and report
            every difference.

    Returns:
        A state that carries what was done for each release; Cancelled when a build was cancelled,
        Failed when not one release could be read.
    """
    releases = _choose(open_database(), release, archive)
    reports = build_releases(releases, force=force, verify=verify)
    return state_of(reports)


def _choose(database: Database, release: str, archive: str) -> list[ReleaseRecord]:
    """The releases that are asked for; an archive is registered.

    Raises:
        InvalidInputError: both are named, the archive is no file, or lies where it may not.
        NotFoundError: there is no such release.
    """
    if release and archive:
        raise InvalidInputError("Name either a release or an archive.")
    if release:
        return [find_release(database, release)]
    if not archive:
        return list_releases_to_build(database)
    for_deployment = runtime.deployment.id is not None
    path = check_within_data_roots(archive, for_deployment=for_deployment, may_be_url=True)
    if not path.is_file():
        raise InvalidInputError(f"There is no file {path}; name the ZIP archive of a release.")
    return [register_release(database, path)]


def build_releases(
    releases: Sequence[ReleaseRecord], *, force: bool = False, verify: bool = False
) -> list[BuildReport]:
    """Map the build over releases; once one was cancelled no other is begun.

    A build that failed for a reason outside of its release is reported like any other.
    """
    options = BuildOptions(
        force=force,
        verify=verify,
        flow_run_id=flow_run_id(),
        waiting_job_id=waiting_job_id(),
    )
    most_open = get_settings().workers * _WAITING_PER_WORKER
    waiting = list(releases)
    open_builds: dict[PrefectFuture[BuildReport], ReleaseRecord] = {}
    reports: list[BuildReport] = []
    while waiting or open_builds:
        if stop_was_asked() or any(one.outcome is BuildOutcome.CANCELLED for one in reports):
            reports += [BuildReport(one.id, one.name, BuildOutcome.NOT_STARTED) for one in waiting]
            waiting = []
        next_ones = waiting[: most_open - len(open_builds)]
        waiting = waiting[len(next_ones) :]
        futures = build_release.map(
            [one.id for one in next_ones], [one.name for one in next_ones], unmapped(options)
        )
        open_builds.update(zip(futures, next_ones, strict=True))
        done, _ = wait(list(open_builds), timeout=_LOOK_SECONDS)
        reports += [_report(future, open_builds.pop(future)) for future in done]
    return reports


def _report(future: PrefectFuture[BuildReport], release: ReleaseRecord) -> BuildReport:
    try:
        return future.result()
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        return BuildReport(release.id, release.name, BuildOutcome.FAILED, message=message)


def state_of(reports: Sequence[BuildReport]) -> State[dict[str, Any]]:
    """The final state of a flow run that has built these."""
    counts = {
        outcome: sum(report.outcome is outcome for report in reports) for outcome in BuildOutcome
    }
    message = ", ".join(
        f"{count} {outcome.value.replace('_', ' ')}" for outcome, count in counts.items() if count
    )
    if counts[BuildOutcome.CANCELLED]:
        alone = f"the statistics of {reports[0].name} stay as they were"
        return Cancelled(message=alone if len(reports) == 1 else message)
    data = {
        "releases": [
            {
                "release_id": str(report.release_id),
                "name": report.name,
                "outcome": report.outcome.value,
                "job_id": None if report.job_id is None else str(report.job_id),
                "message": report.message,
                "page": report.page,
            }
            for report in reports
        ]
    }
    failed = [report for report in reports if report.outcome is BuildOutcome.FAILED]
    if failed and len(failed) == len(reports):
        shown = f"{failed[0].name}: {failed[0].message}"
        return Failed(message=shown if len(failed) == 1 else f"{message}; {shown}", data=data)
    return Completed(message=message or "No release was to be built", data=data)


@flow(name="check-release-stats")
def check_release_stats() -> State[dict[str, Any]]:
    """Look at all releases, and build the statistics that are missing, failed or outdated.

    Outdated are statistics of an archive that has changed since, and those of an older version of
    the code. An archive is known by size and time of change, so the look reads no archive. Meant
    to run on a schedule.

    Returns:
        A state that carries what was done for each release that was queued.
    """
    return state_of(build_releases(queue_outdated_releases()))
