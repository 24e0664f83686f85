"""The statistics of one session, from its folder."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tasks.sessions.folder_scan import FolderContent, scan_folder
from tasks.sessions.problems import ProblemLog, SessionProblemCode
from tasks.sessions.session_names import time_in_name
from tasks.sessions.statistics import SessionFolder, SessionOptions, SessionStatistics

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def compute_session_statistics(
    folder: SessionFolder, now: datetime, options: SessionOptions | None = None
) -> SessionStatistics:
    """Compute the statistics of one session.

    Bad content never raises: what can be told is told, and the problems say what was wrong.

    Args:
        folder: the session, with the fingerprint that was taken before this call: changes while it
            is read then show next time.
        now: the present time, with its zone.
        options: how to look at it.
    """
    options = options or SessionOptions()
    log = ProblemLog()
    known = SessionStatistics(
        session_id=folder.session_id,
        session_path=str(folder.path),
        session_created_at=time_in_name(folder.path.name, options.time_zone),
        stats_computed_at=now.astimezone(UTC),
        fingerprint=folder.fingerprint,
    )
    try:
        content = scan_folder(folder.path, log)
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        code = SessionProblemCode
        log.add(
            code.FOLDER_MISSING if is_missing else code.FOLDER_UNREADABLE,
            "",
            error.strerror or type(error).__name__,
        )
        return replace(known, problems=log.entries())
    known = with_content(known, content)
    return replace(known, problems=log.entries())


def with_content(known: SessionStatistics, content: FolderContent) -> SessionStatistics:
    """Add the count and the times of the images."""
    return replace(
        known,
        images_actual=len(content.names),
        first_image_created_at=_time_of(content.first_mtime_ns),
        last_image_created_at=_time_of(content.last_mtime_ns),
    )


def _time_of(mtime_ns: int | None) -> datetime | None:
    if mtime_ns is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        return None
