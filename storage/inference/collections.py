"""Collections of images in the database, read and written as sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from storage.database.connection import Database, execute
from storage.database.names import id_by_key, no_such
from storage.database.stored_values import storable_json, storable_text
from storage.errors import InvalidInputError, NotFoundError
from storage.projects.images import RegisteredFile, copy_into


@dataclass(frozen=True)
class CollectionRecord:
    """A collection, its source, how many images it has, and how many files are copies of these."""

    id: UUID
    name: str
    source: dict[str, Any]
    image_count: int
    copies: int


@dataclass(frozen=True)
class KnownPlace:
    """What a collection knows of the file of one of its images."""

    sha256: str
    size: int
    modified_at_ns: int


@dataclass(frozen=True)
class CollectionFile:
    """A file that belongs into a collection: what it is, where it lies, how people know it."""

    file: RegisteredFile
    name: str
    path: str


@dataclass(frozen=True)
class CollectionChange:
    """How many images came into a collection, and how many left it."""

    added: int
    removed: int


_COLLECTION = """
SELECT c.id, c.name, c.source, count(i.shared_image_id), coalesce(sum(i.copies), 0)::int
FROM collections c LEFT JOIN collection_images i ON i.collection_id = c.id
"""


def list_collections(database: Database) -> list[CollectionRecord]:
    """All collections by name."""
    rows = database.rows(_COLLECTION + "GROUP BY c.id ORDER BY c.name")
    return [CollectionRecord(*row) for row in rows]


def find_collection(database: Database, name_or_id: str) -> CollectionRecord:
    """A collection by its name or its id.

    Raises:
        NotFoundError: there is none; the message names those that exist.
    """
    query = _COLLECTION + f"WHERE c.id = {id_by_key('collections')} GROUP BY c.id"
    with database.transaction() as connection:
        row = execute(connection, query, key=storable_text(name_or_id)).first()
    if row is None:
        names = (found.name for found in list_collections(database))
        remedy = "`visionflows collections add` makes one."
        raise no_such("collection", name_or_id, names, remedy)
    return CollectionRecord(*row)


def find_collection_file(database: Database, collection_id: UUID, image_id: UUID) -> CollectionFile:
    """The file of a content, where the collection has found it.

    Raises:
        NotFoundError: the collection does not have it.
    """
    rows = database.rows(
        "SELECT c.name, c.file_path, c.file_size, c.modified_at_ns, s.sha256, s.width, s.height, "
        "s.format FROM collection_images c JOIN shared_images s ON s.id = c.shared_image_id "
        "WHERE c.collection_id = :id AND c.shared_image_id = :image_id",
        id=collection_id,
        image_id=image_id,
    )
    if not rows:
        raise NotFoundError(f"The collection has no image {image_id}.")
    name, path, *others = rows[0]
    return CollectionFile(RegisteredFile(path, *others), name, path)


def add_collection(
    database: Database, name: str, source: dict[str, Any], *, replace: bool = False
) -> UUID:
    """The collection of this name and source, made if it does not exist.

    Raises:
        InvalidInputError: the name is taken by a collection with another source.
    """
    values = {"name": name, "source": Jsonb(storable_json(source)), "replace": replace}
    with database.transaction() as connection:
        row = execute(
            connection,
            "INSERT INTO collections AS known (id, name, source) "
            "VALUES (gen_random_uuid(), :name, :source) ON CONFLICT (name) DO UPDATE SET "
            "source = CASE WHEN :replace THEN excluded.source ELSE known.source END "
            "RETURNING id, source = :source",
            **values,
        ).one()
        if not row[1]:
            raise InvalidInputError(
                f"There is a collection {name!r} already, with other images: choose another name, "
                "or --replace its source."
            )
    return UUID(str(row[0]))


def known_places(database: Database, collection_id: UUID) -> dict[str, KnownPlace]:
    """The files of a collection by their absolute paths, as they were when it was gathered."""
    rows = database.rows(
        "SELECT c.file_path, s.sha256, c.file_size, c.modified_at_ns "
        "FROM collection_images c JOIN shared_images s ON s.id = c.shared_image_id "
        "WHERE c.collection_id = :id",
        id=collection_id,
    )
    return {row[0]: KnownPlace(*row[1:]) for row in rows}


def fill_collection(
    database: Database, collection_id: UUID, files: Iterable[CollectionFile]
) -> CollectionChange:
    """Make the images of a collection exactly these, in this order; one row for equal contents."""
    with database.transaction() as connection:
        _lock(connection, collection_id)
        copy_into(
            connection,
            "CREATE TEMPORARY TABLE wanted (position int, name text, file_path text, "
            "file_size bigint, modified_at_ns bigint, sha256 text, width int, height int, "
            "format text) ON COMMIT DROP",
            "wanted",
            (
                (
                    *(position, one.name, one.path, one.file.size, one.file.modified_at_ns),
                    *(one.file.sha256, one.file.width, one.file.height, one.file.format),
                )
                for position, one in enumerate(files)
            ),
        )
        execute(connection, _ADD_CONTENTS)
        return _replace_images(connection, collection_id, _WANTED_FILES)


def fill_collection_from_projects(
    database: Database, collection_id: UUID, query: dict[str, Any]
) -> CollectionChange:
    """Make the images of a collection those that a query over projects gives.

    Keys of `query` are as `tasks.inference.collection_sources.ImageQuery` has them, null for what
    does not matter; `projects` are ids.
    """
    with database.transaction() as connection:
        _lock(connection, collection_id)
        return _replace_images(connection, collection_id, _QUERIED_FILES, query)


def _lock(connection: Connection, collection_id: UUID) -> None:
    execute(connection, "SELECT 1 FROM collections WHERE id = :id FOR UPDATE", id=collection_id)


_ADD_CONTENTS = """
INSERT INTO shared_images (id, sha256, file_path, width, height, file_size, format)
SELECT DISTINCT ON (sha256)
    gen_random_uuid(), sha256, file_path, width, height, file_size, format
FROM wanted ORDER BY sha256, position
ON CONFLICT (sha256) DO NOTHING
"""

_WANTED_FILES = """
SELECT s.id, w.position, w.name, w.file_path, w.file_size, w.modified_at_ns
FROM wanted w JOIN shared_images s USING (sha256)
"""

_QUERIED_FILES = """
SELECT i.shared_image_id,
       row_number() OVER (ORDER BY p.name, i.relative_path COLLATE "C")::int AS position,
       CASE WHEN (SELECT count(*) FROM jsonb_array_elements(:projects)) = 1
           THEN i.relative_path ELSE p.name || '/' || i.relative_path END,
       p.path || '/' || i.relative_path, i.file_size, i.modified_at_ns
FROM project_images i
JOIN projects p ON p.id = i.project_id
LEFT JOIN project_image_quality q ON q.project_image_id = i.id
WHERE i.state = 'present'
  AND (:all_projects OR p.id::text IN (SELECT jsonb_array_elements_text(:projects)))
  AND (CAST(:path AS text) IS NULL OR i.relative_path LIKE CAST(:path AS text))
  AND (CAST(:split AS text) IS NULL OR i.split = CAST(:split AS text))
  AND (CAST(:labeled AS boolean) IS NULL OR i.is_labeled = CAST(:labeled AS boolean))
  AND (CAST(:min_quality AS float8) IS NULL OR q.overall_quality >= CAST(:min_quality AS float8))
  AND (CAST(:without_issues AS text[]) = '{}' OR NOT q.issues && CAST(:without_issues AS text[]))
"""


def _replace_images(
    connection: Connection, collection_id: UUID, files: str, values: dict[str, Any] | None = None
) -> CollectionChange:
    """Replace the images of a collection by what a query gives."""
    connection.execute(
        text(
            "CREATE TEMPORARY TABLE chosen ON COMMIT DROP AS SELECT DISTINCT ON (id) id, position, "
            "name, file_path, file_size, modified_at_ns, "
            f"count(*) OVER (PARTITION BY id) - 1 AS copies FROM ({files}) AS "
            "f (id, position, name, file_path, file_size, modified_at_ns) ORDER BY id, position"
        ),
        values or {},
    )
    execute(connection, "ANALYZE chosen")
    own = {"id": collection_id}
    removed = execute(
        connection,
        "DELETE FROM collection_images i WHERE i.collection_id = :id AND NOT EXISTS "
        "(SELECT 1 FROM chosen c WHERE c.id = i.shared_image_id)",
        **own,
    ).rowcount
    columns = "position, name, file_path, file_size, modified_at_ns, copies"
    new = ", ".join(f"excluded.{column.strip()}" for column in columns.split(","))
    old = ", ".join(f"known.{column.strip()}" for column in columns.split(","))
    written = execute(
        connection,
        f"INSERT INTO collection_images AS known (collection_id, shared_image_id, {columns}) "
        "SELECT :id, id, row_number() OVER (ORDER BY position) - 1, name, file_path, "
        "file_size, modified_at_ns, copies FROM chosen "
        f"ON CONFLICT (collection_id, shared_image_id) DO UPDATE SET ({columns}) = ({new}) "
        f"WHERE ({old}) IS DISTINCT FROM ({new}) RETURNING xmax = 0",
        **own,
    ).scalars()
    added = sum(written)
    execute(connection, "UPDATE collections SET updated_at = now() WHERE id = :id", **own)
    # A run that is at work is summed up when it ends.
    execute(
        connection,
        "SELECT store_run_totals(k.id) FROM runs k WHERE k.collection_id = :id AND NOT EXISTS "
        "(SELECT 1 FROM jobs j WHERE j.kind = 'collection-inference' AND j.subject = k.id::text "
        "AND j.status = 'processing') ORDER BY k.id",
        **own,
    )
    return CollectionChange(added, removed)
