"""Sessions of image generation in the database, read and written as sets.

What people say of a session (`session_metadata`) is never changed here but in `edit_session`, which
a person calls; everything else only adds the rows that are missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql import insert

from storage.database.connection import Database, execute
from storage.database.stored_values import storable_json, storable_text
from storage.database.tables.sessions import SessionStats
from storage.errors import NotFoundError
from storage.records import SessionStatsSource

_LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class KnownSession:
    """What the database knows of the folder of a session.

    The times, the size and `stats_version` are None while no statistics have been computed;
    `manifest_modified_at_ns` and `manifest_size` also where there was no manifest.
    """

    folder_id: UUID
    session_id: str
    sessions_root: str
    relative_path: str
    is_missing: bool
    folder_modified_at_ns: int | None
    manifest_modified_at_ns: int | None
    manifest_size: int | None
    stats_version: int | None
    look_again: bool
    has_failed: bool


@dataclass(frozen=True)
class PlannedFolder:
    """The folder of a session whose statistics are to be computed."""

    folder_id: UUID
    session_id: str
    sessions_root: str
    relative_path: str


@dataclass(frozen=True)
class FolderRegistration:
    """Changes of `session_folders`, by ids and relative paths; `moved` has the new places."""

    new: Sequence[str]
    moved: Mapping[UUID, str]
    returned: Sequence[UUID]
    gone: Sequence[UUID]


@dataclass(frozen=True)
class StoredSession:
    """The outcome of a look at one session.

    fingerprint: time of the folder, time and size of the manifest, before they were read.
        error_message: why it could not be read whole; its values then do not replace earlier ones.
        is_missing: it could not be read because it is not there.
        is_partial: though not read whole, its values are better than earlier ones that no manifest
            told.
    """

    folder_id: UUID
    values: Mapping[str, Any]
    fingerprint: tuple[int, int | None, int | None]
    error_message: str | None = None
    is_missing: bool = False
    is_partial: bool = False


def known_sessions(database: Database) -> list[KnownSession]:
    """The sessions of all roots, as they were at the last look."""
    with database.reading() as connection:
        rows = execute(
            connection,
            "SELECT f.id, f.session_id, f.sessions_root, f.relative_path, "
            "f.state = 'missing', f.folder_modified_at_ns, f.manifest_modified_at_ns, "
            "f.manifest_size, s.stats_version, coalesce(s.look_again, false), "
            "f.error_message IS NOT NULL "
            "FROM session_folders f LEFT JOIN session_stats s USING (session_id)",
        )
        return [KnownSession(*row) for row in rows]


def register_session_folders(
    connection: Connection, root: str, changes: FolderRegistration
) -> dict[str, UUID]:
    """Bring the folders of a root up to date; the ids of all of them by relative path.

    Nothing that people have said of a session changes. The id of a new one is its relative path,
    followed by `@` and the root where a session of another root has that id.
    """
    values: dict[str, Any] = {
        "root": root,
        "moved": list(changes.moved),
        "paths": list(changes.moved.values()),
        "returned": list(changes.returned),
        "gone": list(changes.gone),
        # One order for all writers: two roots with the same names must not lock crosswise.
        "new": sorted(changes.new),
    }
    if changes.moved:
        execute(connection, _MOVE, **values)
        execute(connection, _MOVE_STATS, **values)
    execute(connection, _RETURN, **values)
    execute(connection, _MARK_GONE, **values)
    for session_id in ("n.path", "n.path || '@' || :root"):
        if changes.new:
            execute(connection, _ADD_METADATA.format(session_id=session_id), **values)
            execute(connection, _ADD_FOLDERS.format(session_id=session_id), **values)
    rows = execute(
        connection,
        "SELECT relative_path, id FROM session_folders WHERE sessions_root = :root",
        **values,
    )
    return {row[0]: row[1] for row in rows}


_MOVE = """
UPDATE session_folders f
SET sessions_root = :root, relative_path = m.path, state = 'present', missing_since = NULL
FROM unnest(CAST(:moved AS uuid[]), CAST(:paths AS text[])) AS m(id, path) WHERE f.id = m.id
"""

_MOVE_STATS = """
UPDATE session_stats s SET session_path = rtrim(f.sessions_root, '/') || '/' || f.relative_path
FROM session_folders f
WHERE f.id = ANY(CAST(:moved AS uuid[])) AND s.session_id = f.session_id
"""

_RETURN = """
UPDATE session_folders SET state = 'present', missing_since = NULL
WHERE id = ANY(CAST(:returned AS uuid[])) AND state <> 'present'
"""

_MARK_GONE = """
UPDATE session_folders SET state = 'missing', missing_since = now()
WHERE id = ANY(CAST(:gone AS uuid[])) AND state <> 'missing'
"""

_WITHOUT_A_ROW = """
FROM unnest(CAST(:new AS text[])) WITH ORDINALITY AS n(path, place)
WHERE NOT EXISTS (
    SELECT 1 FROM session_folders f WHERE f.sessions_root = :root AND f.relative_path = n.path
)
ORDER BY n.place
ON CONFLICT DO NOTHING
"""

_ADD_METADATA = "INSERT INTO session_metadata (session_id) SELECT {session_id} " + _WITHOUT_A_ROW

_ADD_FOLDERS = (
    "INSERT INTO session_folders (id, session_id, sessions_root, relative_path, state) "
    "SELECT gen_random_uuid(), {session_id}, :root, n.path, 'present' " + _WITHOUT_A_ROW
)


def load_planned_folders(
    connection: Connection, folder_ids: Sequence[UUID]
) -> dict[UUID, PlannedFolder]:
    """The folders of some sessions by their ids; those deleted in the meantime are left out."""
    rows = execute(
        connection,
        "SELECT id, session_id, sessions_root, relative_path FROM session_folders "
        "WHERE id = ANY(CAST(:ids AS uuid[]))",
        ids=list(folder_ids),
    )
    return {row[0]: PlannedFolder(*row) for row in rows}


def store_sessions(connection: Connection, sessions: Sequence[StoredSession]) -> None:
    """Insert or replace statistics, and remember what the folders looked like.

    A look that failed never replaces what an earlier one has found. A session whose metadata
    somebody has deleted in the meantime is left out. All good outcomes have the same columns.
    """
    # The locks keep the sessions from being deleted before their statistics are stored.
    rows = execute(
        connection,
        "SELECT f.id, f.session_id FROM session_metadata m JOIN session_folders f "
        "USING (session_id) WHERE f.id = ANY(CAST(:ids AS uuid[])) "
        'ORDER BY m.session_id COLLATE "C" FOR KEY SHARE OF m',
        ids=[session.folder_id for session in sessions],
    )
    session_ids = {row[0]: row[1] for row in rows}
    known = sorted(
        (session for session in sessions if session.folder_id in session_ids),
        key=lambda session: session_ids[session.folder_id].encode(),
    )
    good: list[dict[str, Any]] = []
    partial: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for session in known:
        values = {name: storable_json(value) for name, value in session.values.items()}
        values["session_id"] = session_ids[session.folder_id]
        if session.error_message is None:
            good.append(values)
        else:
            (partial if session.is_partial else failed).append(values)
    table = SessionStats.__table__  # type: ignore[attr-defined]
    told_by_no_manifest = table.c.stats_source != SessionStatsSource.MANIFEST
    for rows_to_store, condition in ((good, None), (partial, told_by_no_manifest)):
        if rows_to_store:
            statement = insert(table)
            names = [name for name in rows_to_store[0] if name != "session_id"]
            statement = statement.on_conflict_do_update(
                index_elements=["session_id"],
                set_={name: statement.excluded[name] for name in names},
                where=condition,
            )
            connection.execute(statement, rows_to_store)
    if failed:
        connection.execute(insert(table).on_conflict_do_nothing(), failed)
    if known:
        connection.execute(text(_REMEMBER_LOOK), [_look(session) for session in known])


def _look(session: StoredSession) -> dict[str, Any]:
    folder, manifest, size = session.fingerprint
    message = session.error_message
    return {
        "id": session.folder_id,
        "folder": folder,
        "manifest": manifest,
        "size": size,
        "message": message and storable_text(message, longest=_LONGEST_MESSAGE),
        "is_missing": session.is_missing,
    }


# What a failed look saw is not remembered: the next run looks again.
_REMEMBER_LOOK = """
UPDATE session_folders SET
    folder_modified_at_ns = CASE WHEN CAST(:message AS text) IS NULL
                                 THEN CAST(:folder AS bigint) ELSE folder_modified_at_ns END,
    manifest_modified_at_ns = CASE WHEN CAST(:message AS text) IS NULL
                                   THEN CAST(:manifest AS bigint) ELSE manifest_modified_at_ns END,
    manifest_size = CASE WHEN CAST(:message AS text) IS NULL
                         THEN CAST(:size AS bigint) ELSE manifest_size END,
    error_message = :message,
    state = CASE WHEN :is_missing THEN 'missing'::session_folder_state
                 ELSE 'present'::session_folder_state END,
    missing_since = CASE WHEN :is_missing THEN coalesce(missing_since, now()) END
WHERE id = :id
"""


def gather_planner_statistics(database: Database) -> None:
    """Tell PostgreSQL how the tables of sessions have changed, as it does itself minutes later.

    Until then it takes them for almost empty, and lists ten thousand sessions without their
    indexes: 76 ms instead of 3.
    """
    with database.transaction() as connection:
        execute(connection, "ANALYZE session_metadata, session_folders, session_stats")


def find_session_paths(connection: Connection, names: Sequence[str], root: str) -> dict[str, str]:
    """The relative paths of known sessions of a root by `names`: ids or relative paths.

    Unknown names are left out of the result.
    """
    rows = execute(
        connection,
        "SELECT n.name, f.relative_path FROM unnest(CAST(:names AS text[])) AS n(name) "
        "JOIN session_folders f ON f.sessions_root = :root "
        "AND (f.session_id = n.name OR f.relative_path = n.name) "
        "ORDER BY n.name, f.session_id = n.name",
        names=list(names),
        root=root,
    )
    return {row[0]: row[1] for row in rows}


def find_sessions_root(database: Database, session_ids: Sequence[str]) -> str | None:
    """The root that some sessions were found in; None where it is not one that has them all."""
    ids = list(set(session_ids))
    with database.reading() as connection:
        root: str | None = execute(
            connection,
            "SELECT sessions_root FROM session_folders "
            "WHERE session_id = ANY(CAST(:ids AS text[])) "
            "GROUP BY sessions_root HAVING count(*) = :number",
            ids=ids,
            number=len(ids),
        ).scalar()
    return root


def edit_session(
    database: Database,
    session_id: str,
    *,
    add_tags: Sequence[str] = (),
    remove_tags: Sequence[str] = (),
    add_flags: Sequence[str] = (),
    remove_flags: Sequence[str] = (),
    rating: int | None = None,
    clear_rating: bool = False,
    note: str | None = None,
) -> None:
    """Change what people say of a session; what is left out stays.

    Tags and flags keep their order, and none is there twice.

    Raises:
        NotFoundError: there is no such session.
    """
    changed = database.rows(
        _EDIT,
        session_id=storable_text(session_id),
        add_tags=list(dict.fromkeys(map(storable_text, add_tags))),
        remove_tags=list(map(storable_text, remove_tags)),
        add_flags=list(dict.fromkeys(map(storable_text, add_flags))),
        remove_flags=list(map(storable_text, remove_flags)),
        rating=rating,
        clear_rating=clear_rating,
        note=None if note is None else storable_text(note),
    )
    if not changed:
        raise NotFoundError(
            f"There is no session {session_id!r}; `visionflows sessions list` shows the sessions."
        )


def _edited(column: str) -> str:
    """SQL for a list of words without some, and with others at its end."""
    return f"""{column} = ARRAY(
        SELECT t.word FROM unnest({column}) WITH ORDINALITY AS t(word, place)
        WHERE t.word <> ALL(CAST(:remove_{column} AS text[])) ORDER BY t.place
    ) || ARRAY(
        SELECT a.word FROM unnest(CAST(:add_{column} AS text[])) WITH ORDINALITY AS a(word, place)
        WHERE a.word <> ALL({column}) OR a.word = ANY(CAST(:remove_{column} AS text[]))
        ORDER BY a.place
    )"""


_EDIT = f"""
UPDATE session_metadata SET
    {_edited("tags")},
    {_edited("flags")},
    rating = CASE WHEN :clear_rating THEN NULL
                  ELSE coalesce(CAST(:rating AS smallint), rating) END,
    note = coalesce(CAST(:note AS text), note),
    updated_at = now()
WHERE session_id = :session_id RETURNING session_id
"""
