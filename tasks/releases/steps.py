"""The step of build-release-stats: everything that is done for one release, as one job."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import pyarrow as pa
from prefect.logging import get_run_logger

from storage.database.connection import Database, open_database
from storage.database.failure_sentences import error_in_words
from storage.database.tables.jobs import JobKind, JobStatus
from storage.database.tables.releases import ReleaseStatsStatus
from storage.database.transient import is_transient
from storage.errors import (
    JobCancelledError,
    JobTakenOverError,
    NotFoundError,
    PlaceUnavailableError,
    VisionflowsError,
)
from storage.files.places import ObjectPath
from storage.jobs.counted import JobCount, begin_counted_job
from storage.jobs.held import HeldJob, start_job
from storage.jobs.locks import lock_own_job
from storage.jobs.records import JobRecord
from storage.projects.image_listings import list_images
from storage.records import ReleaseStatsSource
from storage.releases import (
    ArchiveFacts,
    ComputedStatistics,
    ReleaseRecord,
    confirm_statistics,
    describe_release,
    find_release,
    list_releases,
    mark_failed,
    mark_to_be_built,
    store_statistics,
)
from storage.settings import get_settings
from storage.snapshots import SnapshotSubject
from tasks.labels.limit_steps import dataset_limits_of_memory
from tasks.releases.archive.errors import ReleaseError, ReleaseErrorCode
from tasks.releases.archive.ranges import RemoteArchive, open_remote
from tasks.releases.dataset.leakage import find_near_leaks
from tasks.releases.dataset.measured_members import MeasuredImage, find_measured_members
from tasks.releases.metadata import content_key, read_release_metadata
from tasks.releases.report import release_report
from tasks.releases.scan import scan_release
from tasks.releases.statistics import (
    CLASS_ROWS_SCHEMA,
    IMAGE_ROWS_SCHEMA,
    STATISTICS_VERSION,
    ReleaseStatistics,
)
from tasks.releases.verification import compare_statistics
from tasks.reports.keys import artifact_key
from tasks.reports.problem_log import Problem
from tasks.reports.steps import publish_report
from tasks.running.decorators import task
from tasks.running.progress import JobProgress, Shown
from tasks.running.trying_again import try_again
from tasks.snapshots import keep_snapshot

_log = logging.getLogger(__name__)

METADATA_DIFFERS = "metadata_differs"
"""The code of problems that `verify` finds."""

_SHOW_SECONDS = 2.0


class BuildOutcome(StrEnum):
    """How building the statistics of one release ended."""

    BUILT = "built"
    UNCHANGED = "unchanged"
    ALREADY_RUNNING = "already_running"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOT_STARTED = "not_started"


@dataclass(frozen=True)
class BuildOptions:
    """What is wanted of a build.

    `force` computes although the archive has not changed; `verify` counts the members also where
    the archive tells its own figures, and reports every difference. One cancelled build ends the
    run of `flow_run_id`, which asks; a job of one release may wait for that run.
    """

    force: bool = False
    verify: bool = False
    flow_run_id: UUID | None = None
    waiting_job_id: UUID | None = None


@dataclass(frozen=True)
class BuildReport:
    """What was done for one release."""

    release_id: UUID
    name: str
    outcome: BuildOutcome
    job_id: UUID | None = None
    message: str | None = None
    page: str | None = None


@task(run_name="build {name}")
def build_release(release_id: UUID, name: str, options: BuildOptions) -> BuildReport:
    """Compute and store the statistics of one release, as a job of its own.

    What is wrong with the release is written into its row and reported; it does not raise.
    """
    if options.flow_run_id in _cancelled_runs:
        return BuildReport(release_id, name, BuildOutcome.NOT_STARTED)
    database = open_database()
    try:
        job = start_job(
            database,
            JobKind.RELEASE_STATS,
            str(release_id),
            parameters={"force": options.force, "verify": options.verify},
            flow_run_id=options.flow_run_id,
            waiting_job_id=options.waiting_job_id,
        )
    except JobCancelledError:
        return BuildReport(release_id, name, BuildOutcome.CANCELLED)
    if isinstance(job, JobRecord):
        return BuildReport(release_id, name, BuildOutcome.ALREADY_RUNNING, job.id)
    progress = _Progress(database, job, release_id, name)
    try:
        with job:
            # Only now: what an earlier holder of the job has just stored is seen.
            release = find_release(database, str(release_id))
            outcome = _build_or_note_failure(database, job, release, options, progress)
    except JobCancelledError:
        outcome = BuildOutcome.CANCELLED
    except Exception as error:
        # Whatever may pass was tried again within the job: another attempt would be another job.
        if not isinstance(error, VisionflowsError) and not is_transient(error):
            _log.exception("Building the statistics of release %s failed.", name)
        return BuildReport(release_id, name, BuildOutcome.FAILED, job.id, _message(error))
    finally:
        progress.show_end()
    if outcome is BuildOutcome.CANCELLED and options.flow_run_id is not None:
        _cancelled_runs.add(options.flow_run_id)
    page: str | None = None
    if outcome in (BuildOutcome.BUILT, BuildOutcome.UNCHANGED):
        kept = get_settings().report_page("build-release-stats", release_id)
        is_kept = outcome is BuildOutcome.UNCHANGED and kept.exists()
        page = str(kept) if is_kept else publish_release(release_id)
    return BuildReport(release_id, name, outcome, job.id, page=page)


# Builds of these flow runs that still wait for a thread are not begun.
_cancelled_runs: set[UUID] = set()


def _message(error: Exception) -> str:
    said = error_in_words(error)
    return str(said) if isinstance(said, VisionflowsError) else f"{type(said).__name__}: {said}"


def _build_or_note_failure(
    database: Database,
    job: HeldJob,
    release: ReleaseRecord,
    options: BuildOptions,
    progress: _Progress,
) -> BuildOutcome:
    """Build; a failure is written beside the earlier statistics, as long as the job is ours."""
    try:
        return try_again(lambda: _build(database, job, release, options, progress))
    except (JobCancelledError, JobTakenOverError):
        raise
    except Exception as error:
        begin_counted_job(database, job.reference, 1)
        with database.transaction() as connection:
            lock_own_job(connection, job.reference)
            mark_failed(connection, release.id, _message(error))
        raise


def _build(
    database: Database,
    job: HeldJob,
    release: ReleaseRecord,
    options: BuildOptions,
    progress: _Progress,
) -> BuildOutcome:
    facts = _look_at(release)
    # Held here, so that every step below reads the same one.
    path = release.model_path
    remote = open_remote(path) if isinstance(path, ObjectPath) else None
    if _is_known(release, content_key(release.model_path), options):
        begin_counted_job(database, job.reference, 0)
        with database.transaction() as connection:
            lock_own_job(connection, job.reference)
            confirm_statistics(connection, release.id, facts)
        return _finish(job, BuildOutcome.UNCHANGED, _transferred(remote))
    statistics = _compute(job, release, options, progress)
    if statistics.source is ReleaseStatsSource.SCAN:
        statistics = statistics.with_problems(_near_leaks(database, release, statistics))
    if remote is not None and _look_at(release) != facts:
        raise PlaceUnavailableError(f"{path} was replaced while it was read.")
    progress.begin(0)
    job.raise_if_stopped()
    # Before the row: a row that says completed has its snapshots.
    snapshots = write_release_snapshots(release, statistics, job.id)
    with database.transaction() as connection:
        lock_own_job(connection, job.reference)
        store_statistics(connection, release.id, _as_columns(statistics, facts))
    progress.end()
    return _finish(
        job,
        BuildOutcome.BUILT,
        {
            "source": statistics.source.value,
            "images": statistics.image_count,
            "classes": statistics.class_count,
            "problems": statistics.problem_totals,
            "snapshots": snapshots,
            **_transferred(remote),
        },
    )


def _transferred(remote: RemoteArchive | None) -> dict[str, Any]:
    """What was read of an archive in a bucket; nothing for one on a disk."""
    if remote is None:
        return {}
    size, read, requests = remote.facts.size, remote.bytes_read, remote.requests
    words = "%s of %s bytes of %s were read, by %s requests"
    get_run_logger().info(words, f"{read:,}", f"{size:,}", remote.path, requests)
    return {"archive_size": size, "bytes_read": read, "requests": requests}


def _finish(job: HeldJob, outcome: BuildOutcome, result: dict[str, Any]) -> BuildOutcome:
    status = job.finish({"outcome": outcome.value, **result})
    return BuildOutcome.CANCELLED if status is JobStatus.CANCELLED else outcome


def _look_at(release: ReleaseRecord) -> ArchiveFacts:
    try:
        return ArchiveFacts.of(release.model_path)
    except (FileNotFoundError, NotADirectoryError, NotFoundError):
        raise ReleaseError(
            ReleaseErrorCode.MISSING,
            f"The archive {release.model_path} is gone; put it back and build again.",
        ) from None


def _is_known(release: ReleaseRecord, key: str, options: BuildOptions) -> bool:
    """Whether the stored statistics are what would be computed now."""
    return (
        not options.force
        and release.has_statistics
        and release.content_key == key
        and release.stats_version == STATISTICS_VERSION
        and (not options.verify or release.stats_source is ReleaseStatsSource.SCAN)
    )


def _compute(
    job: HeldJob, release: ReleaseRecord, options: BuildOptions, progress: _Progress
) -> ReleaseStatistics:
    """Take what the archive says of itself, or count its members."""
    limits = dataset_limits_of_memory()
    told = read_release_metadata(release.model_path, limits)
    if told is not None and not options.verify:
        return told
    counted = scan_release(
        release.model_path, limits, progress=progress, should_stop=lambda: job.should_stop
    )
    if told is None:
        return counted
    return counted.with_problems(
        [
            Problem(
                METADATA_DIFFERS,
                "",
                f"{difference.what}: the metadata says {_shown(difference.metadata)}, the members "
                f"{_shown(difference.scan)}",
            )
            for difference in compare_statistics(told, counted)
        ]
    )


def _near_leaks(
    database: Database, release: ReleaseRecord, statistics: ReleaseStatistics
) -> tuple[Problem, ...]:
    """Near-duplicates in two splits, where the images of the release's project were measured."""
    if release.project_id is None:
        return ()
    images = [
        MeasuredImage(
            image.filename,
            image.sha256,
            image.file_size,
            image.perceptual_hash,
        )
        for image in list_images(database, release.project_id)
        if image.perceptual_hash is not None and not image.is_missing
    ]
    if not images:
        return ()
    found = find_measured_members(statistics.image_batches(), images)
    return find_near_leaks(found.members, found.splits, found.hashes)


def _shown(value: int | str | None) -> str:
    return "nothing" if value is None else str(value)


def _as_columns(statistics: ReleaseStatistics, facts: ArchiveFacts) -> ComputedStatistics:
    return ComputedStatistics(
        source=statistics.source,
        train_image_count=statistics.train_image_count,
        val_image_count=statistics.val_image_count,
        test_image_count=statistics.test_image_count,
        class_count=statistics.class_count,
        classes=statistics.classes_json(),
        shapes=statistics.shapes_json(),
        problems=statistics.problems_json(),
        archive=facts,
        content_key=statistics.content_key,
        version=STATISTICS_VERSION,
    )


class _Progress:
    """The progress of a scan: in the job's row each second, in Prefect every two seconds.

    What is counted are the label files, and one more for the release itself.
    """

    def __init__(self, database: Database, job: HeldJob, release_id: UUID, name: str) -> None:
        self._count = JobCount(database, job.reference)
        shown = Shown(
            artifact_key("release-progress", name, str(release_id)),
            f"Statistics of {name}",
            done="counted",
            items="label files",
        )
        self._artifact = JobProgress(database, job.id, shown, first_after_seconds=_SHOW_SECONDS)

    def __call__(self, done: int, total: int) -> None:
        self.begin(total)
        self._count.show(done)
        self._artifact.show()

    def begin(self, label_files: int) -> None:
        """Fix the total; only the first call counts."""
        self._count.begin(label_files + 1)

    def end(self) -> None:
        """All is done and stored."""
        self._count.end()

    def show_end(self) -> None:
        """Let the artifact say how the job has ended."""
        self._artifact.show_end()


@task(run_name="queue outdated releases")
def queue_outdated_releases() -> list[ReleaseRecord]:
    """Queue every release whose statistics are missing, failed, or not those of its archive."""
    database = open_database()
    outdated = [release for release in list_releases(database) if _is_outdated(release)]
    mark_to_be_built(database, [release.id for release in outdated])
    return outdated


def _is_outdated(release: ReleaseRecord) -> bool:
    if release.stats_status is not ReleaseStatsStatus.COMPLETED:
        return True
    if release.stats_version != STATISTICS_VERSION:
        return True
    try:
        return ArchiveFacts.of(release.model_path) != release.archive_facts
    except (OSError, VisionflowsError):
        return True  # building tells what is the matter with it


def write_release_snapshots(
    release: ReleaseRecord, statistics: ReleaseStatistics, run_id: UUID
) -> dict[str, str]:
    """Write `release_classes`, and after a scan `release_images`; their paths by dataset name.

    Where the newest snapshot holds these very rows it still tells the truth, and is kept.
    """
    datasets: dict[str, tuple[pa.Schema, Any]] = {
        "release_classes": (CLASS_ROWS_SCHEMA, lambda: statistics.class_rows().to_batches()),
    }
    if statistics.source is ReleaseStatsSource.SCAN:
        datasets["release_images"] = (IMAGE_ROWS_SCHEMA, statistics.image_batches)
    return {
        dataset: keep_snapshot(
            SnapshotSubject(dataset, "release", release.id),
            schema,
            batches,
            f"{STATISTICS_VERSION} {statistics.source.value} {statistics.content_key}",
            "build-release-stats",
            run_id,
            release=release.name,
            archive=str(release.model_path),
            source=statistics.source.value,
        )
        for dataset, (schema, batches) in datasets.items()
    }


def publish_release(
    release_id: UUID,
    flow: str = "build-release-stats",
    left_out: Sequence[Mapping[str, Any]] = (),
) -> str | None:
    """Show the statistics of a release in Prefect, and keep them as a page; the page's path.

    The window must not break the work behind it: what goes wrong is logged, and the path is None.
    The page is among those of `flow`; it shows what of the project was `left_out` when the release
    was made.
    """
    try:
        database = open_database()
        release = find_release(database, str(release_id))
        kind = "release-statistics" if flow == "build-release-stats" else flow
        return publish_report(
            release_report(describe_release(database, release), left_out),
            flow,
            release_id,
            key=artifact_key(kind, release.name, str(release_id)),
        )
    except Exception as error:
        _log.warning("The report of release %s could not be shown: %s", release_id, error)
        return None
