"""The steps of compute-session-stats: plan, compute in chunks, write a snapshot, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from storage.database.connection import Database, open_database
from storage.database.snapshot_views import SESSIONS
from storage.database.stored_values import storable_text
from storage.database.tables.sessions import SessionStats
from storage.database.transient import is_transient
from storage.errors import InvalidInputError
from storage.files.places import ObjectPath, place_of
from storage.jobs.locks import JobReference
from storage.jobs.records import find_job
from storage.sessions.queries import load_session_overview
from storage.sessions.root import sessions_root_id
from storage.sessions.sessions import (
    FolderRegistration,
    KnownSession,
    PlannedFolder,
    StoredSession,
    find_session_paths,
    known_sessions,
    load_planned_folders,
    register_session_folders,
    store_sessions,
)
from storage.snapshots import SnapshotSubject
from tasks.reports.keys import artifact_key
from tasks.reports.problem_log import Problem
from tasks.reports.steps import publish_report
from tasks.running.chunk_loop import ChunkReport, ChunkWork, until, work_through
from tasks.running.chunks import plan_chunks
from tasks.running.decorators import task
from tasks.sessions.computation import compute_session_statistics
from tasks.sessions.folders.bucket import find_sessions_in_bucket, fingerprint_in_bucket
from tasks.sessions.folders.finding import find_sessions, fingerprint_session
from tasks.sessions.folders.names import time_in_name
from tasks.sessions.folders.plan import (
    NEVER_SEEN,
    EarlierSession,
    closed_sessions,
    estimate_seconds,
    plan_sessions,
)
from tasks.sessions.problems import SessionProblemCode, problem_as_json
from tasks.sessions.report import sessions_report
from tasks.sessions.statistics import (
    STATS_VERSION,
    FoundSessions,
    SessionFingerprint,
    SessionFolder,
    SessionStatistics,
)
from tasks.snapshots import keep_snapshot

_REPORT_ROWS = 50
_STATS_COLUMNS = tuple(
    column.name
    for column in SessionStats.__table__.columns  # type: ignore[attr-defined]
    if column.name != "session_id"
)
# Not read whole: what an earlier look has found stays.
_FAILURES = {
    SessionProblemCode.FOLDER_MISSING,
    SessionProblemCode.FOLDER_UNREADABLE,
    SessionProblemCode.IMAGE_UNREADABLE,
    SessionProblemCode.MANIFEST_UNREADABLE,
    SessionProblemCode.UNEXPECTED_ERROR,
}


@dataclass(frozen=True)
class SessionsChosen:
    """Which sessions a run is about.

    `session_ids` are ids or relative paths, None for all below the root; to `accept_losses` is to
    go on although most of the known sessions are gone.
    """

    root: str
    session_ids: tuple[str, ...] | None = None
    force: bool = False
    without_manifest: bool = True
    accept_losses: bool = False


@dataclass(frozen=True)
class PlanReport:
    """What a look at a root has found.

    Attributes:
        counts: how many sessions were `found`, and are `new`, `moved`, `returned`, `gone`,
            `unchanged`.
        left_out: folders that were left out, and why; the first ones of `left_out_count`.
    """

    chunks: list[int]
    counts: dict[str, int]
    left_out: list[tuple[str, str]]
    left_out_count: int


@task(run_name="plan")
def plan_session_stats(job: JobReference, chosen: SessionsChosen) -> PlanReport:
    """Find the sessions, see which have changed without opening any, and cut them into chunks."""
    database = open_database()
    earlier = known_sessions(database)
    found = _find(database, chosen, earlier)
    plan = plan_sessions(
        chosen.root,
        found.sessions,
        [_earlier(session) for session in earlier],
        stats_version=STATS_VERSION,
        force=chosen.force,
        whole=chosen.session_ids is None,
        could_not_look_at={
            problem.place
            for problem in found.problems
            if problem.code == SessionProblemCode.FOLDER_UNREADABLE
        },
        is_there=lambda session: (place_of(session.root) / session.relative_path).is_dir(),
    )
    if plan.loses_too_many and not chosen.accept_losses:
        raise InvalidInputError(
            f"{len(plan.gone)} of {plan.known_before} sessions are gone from {chosen.root}. "
            "Nothing was changed. If that is intended, run again with --accept-losses."
        )
    with database.transaction() as connection:
        folder_ids = register_session_folders(
            connection,
            chosen.root,
            FolderRegistration(plan.new, plan.moved, plan.returned, plan.gone),
        )
    by_path = {folder.session_id: folder for folder in found.sessions}
    to_compute = [
        by_path[path]
        for path in plan.to_compute
        if path in folder_ids
        and (chosen.without_manifest or by_path[path].fingerprint.has_manifest)
    ]
    return PlanReport(
        plan_chunks(
            job,
            [folder_ids[folder.session_id] for folder in to_compute],
            [estimate_seconds(folder) for folder in to_compute],
        ),
        {
            "found": len(found.sessions),
            **{name: len(getattr(plan, name)) for name in ("new", "moved", "returned", "gone")},
            "unchanged": len(found.sessions) - len(to_compute),
        },
        [
            (storable_text(problem.place), problem.reason)
            for problem in found.problems[:_REPORT_ROWS]
        ],
        len(found.problems),
    )


def _find(
    database: Database, chosen: SessionsChosen, earlier: Sequence[KnownSession]
) -> FoundSessions:
    """The sessions that a run is about, as they lie on the disk now."""
    root = place_of(chosen.root)
    paths: list[str] | None = None
    if chosen.session_ids is not None:
        with database.reading() as connection:
            known = find_session_paths(connection, chosen.session_ids, chosen.root)
        paths = [known.get(name, name) for name in chosen.session_ids]
    if isinstance(root, ObjectPath):
        found = find_sessions_in_bucket(root, paths)
    else:
        found = find_sessions(root, paths)
    known_paths = {s.relative_path for s in earlier if s.sessions_root == chosen.root}
    closed = closed_sessions(root, found.problems, known_paths)
    # Known sessions without a manifest stay in it even where they are not read: they are not gone.
    sessions = [
        folder
        for folder in found.sessions
        if chosen.without_manifest
        or folder.fingerprint.has_manifest
        or folder.session_id in known_paths
    ]
    return FoundSessions(
        tuple(sorted((*sessions, *closed), key=lambda folder: folder.session_id)), found.problems
    )


def _fingerprint(path: Path) -> SessionFingerprint:
    try:
        if isinstance(path, ObjectPath):
            return fingerprint_in_bucket(path)
        return fingerprint_session(path)
    except InvalidInputError:
        return NEVER_SEEN


def _earlier(session: KnownSession) -> EarlierSession:
    folder_time = session.folder_modified_at_ns
    return EarlierSession(
        folder_id=session.folder_id,
        root=session.sessions_root,
        relative_path=session.relative_path,
        is_missing=session.is_missing,
        fingerprint=None
        if folder_time is None
        else SessionFingerprint(
            folder_time, session.manifest_modified_at_ns, session.manifest_size
        ),
        stats_version=session.stats_version,
        look_again=session.look_again or session.has_failed,
    )


@task(run_name="compute chunk {number}")
def compute_chunk(job: JobReference, number: int, batch_size: int) -> ChunkReport:
    """Compute the statistics of the sessions of a chunk and store them batch by batch."""
    return work_through(
        job,
        number,
        lambda connection, items: _Computing(batch_size, load_planned_folders(connection, items)),
    )


class _Computing(ChunkWork):
    """Looks at sessions."""

    def __init__(self, batch_size: int, folders: dict[UUID, PlannedFolder]) -> None:
        super().__init__(batch_size)
        self._folders = folders
        self._sessions: list[StoredSession] = []

    def do(self, items: Sequence[UUID], should_stop: Callable[[], bool]) -> list[bool]:
        self._sessions = []
        return [self._has_computed(item) for item in until(should_stop, items)]

    def _has_computed(self, item: UUID) -> bool:
        folder = self._folders.get(item)
        if folder is None:
            return True  # somebody has deleted it since, so nothing is to be done
        session = _look_at(folder)
        self._sessions.append(session)
        return session.error_message is None

    def store(self, connection: Connection) -> None:
        store_sessions(connection, self._sessions)


def _look_at(planned: PlannedFolder) -> StoredSession:
    """Compute the statistics of one session; whatever is wrong with it stays with it."""
    path = place_of(planned.sessions_root) / planned.relative_path
    # Before it is read: what changes meanwhile shows at the next look.
    fingerprint = _fingerprint(path)
    now = datetime.now(UTC)
    folder = SessionFolder(planned.session_id, path, fingerprint)
    try:
        statistics = compute_session_statistics(folder, now)
    except Exception as error:
        if is_transient(error):
            raise
        reason = f"{type(error).__name__}: {error}"
        problem = Problem(SessionProblemCode.UNEXPECTED_ERROR, "", reason)
        statistics = SessionStatistics(
            session_id=planned.session_id,
            session_path=str(path),
            session_created_at=time_in_name(path.name),
            stats_computed_at=now,
            problems=(problem,),
            fingerprint=fingerprint,
        )
    failure = next((p for p in statistics.problems if p.code in _FAILURES), None)
    return StoredSession(
        planned.folder_id,
        _stats_columns(statistics),
        (
            statistics.fingerprint.folder_mtime_ns,
            statistics.fingerprint.manifest_mtime_ns,
            statistics.fingerprint.manifest_size,
        ),
        error_message=None if failure is None else f"{path / failure.place}: {failure.reason}",
        is_missing=failure is not None and failure.code == SessionProblemCode.FOLDER_MISSING,
        is_partial=statistics.is_readable,
    )


def _stats_columns(statistics: SessionStatistics) -> dict[str, Any]:
    values = {name: getattr(statistics, name) for name in _STATS_COLUMNS}
    values["placeholders_json"] = dict(statistics.placeholders_json)
    values["variations_summary_json"] = dict(statistics.variations_summary_json)
    values["problems"] = [problem_as_json(problem) for problem in statistics.problems]
    return values


def snapshot_subject(root: str) -> SnapshotSubject:
    """What the snapshots of a sessions' root are about; the same id for the same root."""
    return SnapshotSubject("session_stats", "root", sessions_root_id(root))


@task(run_name="write snapshot")
def write_session_snapshot(job: JobReference, root: str, parameters: dict[str, str]) -> str:
    """Write the statistics of all sessions of a root as a snapshot; its path."""
    with open_database().reading() as connection:
        return keep_snapshot(
            snapshot_subject(root),
            SESSIONS.schema,
            lambda: SESSIONS.read(connection, root),
            SESSIONS.digest(connection, root),
            "compute-session-stats",
            job.id,
            sessions_root=root,
            **parameters,
        )


@task(run_name="publish report")
def publish_session_report(
    root: str, job: JobReference, result: dict[str, Any], left_out: list[tuple[str, str]]
) -> str:
    """Show the sessions of a root in Prefect, and keep them as a page; the page's path."""
    database, subject_id = open_database(), snapshot_subject(root).id
    overview = load_session_overview(database, root, most_rows=_REPORT_ROWS)
    done = find_job(database, job.id)
    return publish_report(
        sessions_report(
            root,
            asdict(overview),
            result,
            (done.processed, done.failed),
            left_out,
            more_left_out=result["left_out"] - len(left_out),
        ),
        "compute-session-stats",
        subject_id,
        key=artifact_key("sessions-summary", root, str(subject_id)),
    )
