"""Which of the sessions found below a root are new, moved, back, gone, or to be looked at again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import UUID

from storage.files.places import ObjectPath
from tasks.reports.problem_log import Problem
from tasks.sessions.folders.names import time_in_name
from tasks.sessions.problems import SessionProblemCode
from tasks.sessions.statistics import SessionFingerprint, SessionFolder

# More sessions gone at once than this share of the known ones: a disk is not mounted, likelier
# than that somebody has deleted them all.
MOST_LOST = 0.5

# Equal to no look that is remembered.
NEVER_SEEN = SessionFingerprint(-1, None, None)

# For cutting chunks only: what a session costs, and its manifest. Its images are counted when it is
# read; how large the list of a folder's files is tells roughly how many there are.
_SECONDS_PER_SESSION = 0.004
_MANIFEST_BYTES_PER_SECOND = 60e6
_LIST_BYTES_PER_SECOND = 5e6


@dataclass(frozen=True, slots=True)
class EarlierSession:
    """What an earlier look knows of a session.

    Attributes:
        fingerprint: what it looked like when it was read; None when it never was.
        stats_version: of its statistics; None when there are none.
        look_again: it was written to while it was read, or could not be read.
    """

    folder_id: UUID
    root: str
    relative_path: str
    is_missing: bool
    fingerprint: SessionFingerprint | None
    stats_version: int | None
    look_again: bool


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What is to be done about the sessions of a root.

    Attributes:
        moved: where those lie now that lay elsewhere, by their ids.
        known_before: how many of this root were there at the last look.
        to_compute: relative paths of those to be read, in their order.
    """

    new: list[str]
    moved: dict[UUID, str]
    returned: list[UUID]
    gone: list[UUID]
    known_before: int
    to_compute: list[str]

    @property
    def loses_too_many(self) -> bool:
        """Whether so many are gone that something else is wrong."""
        return len(self.gone) > MOST_LOST * self.known_before


def plan_sessions(
    root: str,
    found: Sequence[SessionFolder],
    earlier: Iterable[EarlierSession],
    *,
    stats_version: int,
    force: bool = False,
    whole: bool = True,
    could_not_look_at: Collection[str] = (),
    is_there: Callable[[EarlierSession], bool] = lambda session: True,
) -> SessionPlan:
    """Compare what was found with what was known.

    A session that nobody knew here, and that looks to the nanosecond like a known one which is not
    where it was, is that one: moved, with all that people have said of it.

    Args:
        found: the sessions in it; their `session_id` is their path below the root.
        whole: `found` is all there is below the root; False where only some were asked for, and
            then none is gone.
        could_not_look_at: relative paths of folders that could not be looked at: sessions there
            are not gone.
        is_there: whether the folder of a session of another root is still where it was; asked only
            of those that may have moved here.
    """
    here: dict[str, EarlierSession] = {}
    elsewhere: list[EarlierSession] = []
    for session in earlier:
        if session.root == root:
            here[session.relative_path] = session
        else:
            elsewhere.append(session)
    paths = {folder.session_id for folder in found}
    gone = (
        [
            session
            for path, session in here.items()
            if path not in paths and not _lies_in(path, could_not_look_at)
        ]
        if whole
        else []
    )
    unknown = [folder for folder in found if folder.session_id not in here]
    moved = _match_moved(unknown, gone, elsewhere, is_there)
    still_gone = {session.folder_id for session in gone} - moved.keys()
    moved_paths = set(moved.values())
    by_path = {path: session for path, session in here.items() if path in paths}
    return SessionPlan(
        new=[f.session_id for f in unknown if f.session_id not in moved_paths],
        moved=moved,
        returned=[session.folder_id for session in by_path.values() if session.is_missing],
        gone=[s.folder_id for s in gone if s.folder_id in still_gone and not s.is_missing],
        known_before=sum(not session.is_missing for session in here.values()),
        to_compute=[
            folder.session_id
            for folder in found
            if force
            or (
                folder.session_id not in moved_paths
                and _is_stale(by_path.get(folder.session_id), folder.fingerprint, stats_version)
            )
        ],
    )


def _is_stale(
    session: EarlierSession | None, fingerprint: SessionFingerprint, stats_version: int
) -> bool:
    return (
        session is None
        or session.look_again
        or session.stats_version != stats_version
        or session.fingerprint != fingerprint
    )


def _settled_look(session: EarlierSession) -> SessionFingerprint | None:
    """What a session looked like, if nothing was being written at the time."""
    return None if session.look_again else session.fingerprint


def _match_moved(
    unknown: Sequence[SessionFolder],
    gone: Sequence[EarlierSession],
    elsewhere: Sequence[EarlierSession],
    is_there: Callable[[EarlierSession], bool],
) -> dict[UUID, str]:
    """Pair new folders with sessions that left another place and look the same.

    Where several look the same, the names must be the same as well.
    """
    if not unknown:
        return {}
    wanted: dict[SessionFingerprint | None, list[SessionFolder]] = defaultdict(list)
    for folder in unknown:
        wanted[folder.fingerprint].append(folder)
    candidates: dict[SessionFingerprint | None, list[EarlierSession]] = defaultdict(list)
    for session in gone:
        if (looked_like := _settled_look(session)) in wanted:
            candidates[looked_like].append(session)
    for session in elsewhere:
        if (looked_like := _settled_look(session)) in wanted and not is_there(session):
            candidates[looked_like].append(session)
    moved: dict[UUID, str] = {}
    for fingerprint, sessions in candidates.items():
        folders = wanted[fingerprint]
        if len(sessions) == len(folders) == 1:
            moved[sessions[0].folder_id] = folders[0].session_id
            continue
        names = defaultdict(list)
        for session in sessions:
            names[PurePosixPath(session.relative_path).name].append(session)
        for folder in folders:
            same_name = names[PurePosixPath(folder.session_id).name]
            if same_name:
                moved[same_name.pop().folder_id] = folder.session_id
    return moved


def _lies_in(path: str, folders: Collection[str]) -> bool:
    """Whether a path is one of some folders, or lies in one of them."""
    if not folders:
        return False
    place = PurePosixPath(path)
    return any(str(part) in folders for part in (place, *place.parents))


def closed_sessions(
    root: Path, problems: Iterable[Problem], known_paths: Collection[str]
) -> list[SessionFolder]:
    """Sessions among the folders that could not be looked at, to be failed with the reason.

    They are those that were sessions before, and those named as one; of any other folder nobody
    knows whether it is a session.
    """
    return [
        SessionFolder(problem.place, root / problem.place, NEVER_SEEN)
        for problem in problems
        if problem.code == SessionProblemCode.FOLDER_UNREADABLE
        and (problem.place in known_paths or time_in_name(PurePosixPath(problem.place).name))
    ]


def estimate_seconds(folder: SessionFolder) -> float:
    """Roughly how long it takes to compute the statistics of a session; nothing is opened."""
    try:
        is_far = isinstance(folder.path, ObjectPath)
        size_of_list = 0 if is_far else folder.path.stat().st_size
    except OSError:
        size_of_list = 0
    return (
        _SECONDS_PER_SESSION
        + (folder.fingerprint.manifest_size or 0) / _MANIFEST_BYTES_PER_SECOND
        + size_of_list / _LIST_BYTES_PER_SECOND
    )
