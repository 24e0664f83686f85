"""The statistics of one session, from its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from storage.files.places import ObjectPath
from storage.records import SessionManifestStatus, SessionStatsSource
from tasks.reports.problem_log import ProblemLog, quoted
from tasks.sessions.folders.bucket import folder_of_manifest, scan_in_bucket
from tasks.sessions.folders.content import FolderContent, scan_folder
from tasks.sessions.folders.names import time_in_name
from tasks.sessions.manifest.consistency import compare_with_folder
from tasks.sessions.manifest.expected_images import completion_percentage
from tasks.sessions.manifest.facts import manifest_facts
from tasks.sessions.manifest.files import read_manifest
from tasks.sessions.metadata.image_sample import sample_images
from tasks.sessions.problems import SessionProblemCode, session_log
from tasks.sessions.statistics import (
    SessionFolder,
    SessionOptions,
    SessionStatistics,
)

Result = TypeVar("Result")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def compute_session_statistics(
    folder: SessionFolder, now: datetime, options: SessionOptions | None = None
) -> SessionStatistics:
    """Compute the statistics of one session.

    Bad content never raises: what can be told is told, and the problems say what was wrong. The
    fingerprint of the folder was taken before this call: changes while it is read then show next
    time.
    """
    options = options or SessionOptions()
    log = session_log()
    known = SessionStatistics(
        session_id=folder.session_id,
        session_path=str(folder.path),
        session_created_at=time_in_name(folder.path.name, options.time_zone),
        stats_computed_at=now.astimezone(UTC),
        fingerprint=folder.fingerprint,
    )
    try:
        if isinstance(folder.path, ObjectPath):
            content = scan_in_bucket(folder.path, log)
        else:
            content = scan_folder(folder.path, log)
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        code = SessionProblemCode
        log.add(
            code.FOLDER_MISSING if is_missing else code.FOLDER_UNREADABLE,
            error.strerror or type(error).__name__,
        )
        return replace(known, problems=log.entries())
    known = replace(
        known,
        images_actual=len(content.names),
        first_image_created_at=_time_of(content.first_mtime_ns),
        last_image_created_at=_time_of(content.last_mtime_ns),
    )
    known = _guarded(lambda: _with_manifest(known, folder, content, options, log), known, log)
    is_far = isinstance(folder.path, ObjectPath)  # of its images none is opened
    if known.stats_source is not SessionStatsSource.MANIFEST and not is_far:
        known = _guarded(lambda: _with_metadata(known, folder, content, options, log), known, log)
    known = replace(
        known,
        completion_percentage=completion_percentage(known.images_actual, known.images_expected),
    )
    known = _with_freshness(known, content, options, log)
    _compare_with_status(known, log)
    return replace(known, problems=log.entries())


def _guarded(work: Callable[[], Result], otherwise: Result, log: ProblemLog) -> Result:
    """Do a part of the work; a fault in it must not cost the other parts."""
    try:
        return work()
    except MemoryError:
        raise  # not about this session: another attempt may succeed
    except Exception as error:
        reason = f"{type(error).__name__}: {quoted(str(error))}"
        log.add(SessionProblemCode.UNEXPECTED_ERROR, reason)
        return otherwise


def _with_manifest(
    known: SessionStatistics,
    folder: SessionFolder,
    content: FolderContent,
    options: SessionOptions,
    log: ProblemLog,
) -> SessionStatistics:
    """Add what the manifest says, and whether it lists what is there."""
    with folder_of_manifest(folder.path) as place:
        parts = read_manifest(place, log)
    if parts is None:
        return known
    facts = manifest_facts(parts, log, options.time_zone)
    # Not `asdict`, which copies every value deeply.
    found: dict[str, Any] = {item.name: getattr(facts, item.name) for item in fields(facts)}
    if found.pop("has_snapshot"):
        found["stats_source"] = SessionStatsSource.MANIFEST
    if parts.images is not None:
        found |= compare_with_folder(parts.images, content.names, log)
    return replace(known, **found)


def _with_metadata(
    known: SessionStatistics,
    folder: SessionFolder,
    content: FolderContent,
    options: SessionOptions,
    log: ProblemLog,
) -> SessionStatistics:
    """Add what a sample of the images tells."""
    sample = sample_images(folder.path, content.names, options.sample_size, log)
    known = replace(known, images_sampled=sample.opened)
    if not sample.metadata:
        return known
    facts = sample.most_common()
    if known.seed_min is None:  # else the manifest's list knows all of them
        facts["seed_min"] = min(sample.seeds, default=None)
        facts["seed_max"] = max(sample.seeds, default=None)
    return replace(
        known,
        stats_source=SessionStatsSource.IMAGE_METADATA,
        resolved_prompt=sample.prompt,
        negative_prompt=sample.negative_prompt,
        **facts,  # type: ignore[arg-type]  # the fields have the same names and types
    )


def _with_freshness(
    known: SessionStatistics, content: FolderContent, options: SessionOptions, log: ProblemLog
) -> SessionStatistics:
    """Tell whether the session is still being written."""
    fingerprint, now = known.fingerprint, known.stats_computed_at
    times = [_time_of(content.last_mtime_ns), _time_of(fingerprint.manifest_mtime_ns)]
    written = [time for time in times if time is not None]
    latest = max(written, default=None)
    if latest is not None and latest - now > options.ongoing_for:
        reason = f"a file's time is {latest.isoformat(timespec='seconds')}, in the future"
        log.add(SessionProblemCode.TIME_IN_FUTURE, reason)
    is_fresh = any(abs(now - time) <= options.ongoing_for for time in written)
    listed = _time_of(fingerprint.folder_mtime_ns)
    is_over = known.manifest_status in (
        SessionManifestStatus.COMPLETED,
        SessionManifestStatus.ABORTED,
    )
    return replace(
        known,
        is_ongoing=is_fresh and not is_over,
        look_again=is_fresh or (listed is not None and abs(now - listed) <= options.ongoing_for),
    )


def _compare_with_status(known: SessionStatistics, log: ProblemLog) -> None:
    missing = known.images_expected - known.images_actual
    if known.manifest_status is SessionManifestStatus.COMPLETED and missing > 0:
        reason = (
            f"stated as completed, with {known.images_actual} of {known.images_expected} images"
        )
        log.add(SessionProblemCode.STATUS_DISAGREES, reason, count=missing)


def _time_of(mtime_ns: int | None) -> datetime | None:
    if mtime_ns is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        return None
