"""The images of projects in the database, read and written as sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from storage.database.connection import Database, driver_connection, execute
from storage.database.stored_values import storable_json, storable_text
from storage.projects.projects import ProjectRecord


@dataclass(frozen=True)
class KnownFile:
    """What the database knows of one image file of a project."""

    size: int
    modified_at_ns: int
    is_missing: bool
    sha256: str


@dataclass(frozen=True)
class RegisteredFile:
    """An image file that is to be registered.

    `width` and `height` are None where the header tells none.
    """

    relative_path: str
    size: int
    modified_at_ns: int
    sha256: str
    width: int | None
    height: int | None
    format: str | None


@dataclass(frozen=True)
class ImageLabelFile:
    """Where the labels of an image are; all None for an image without a label file.

    `label_count` is 0 for an empty label file, which makes its image a background picture, and None
    for one of which nothing can be used: the image is not labelled. `classes` are their names.
    """

    relative_path: str
    split: str | None
    label_path: str | None
    label_format: str | None
    label_count: int | None
    classes: Sequence[str] = ()


@dataclass(frozen=True)
class LabelRegistration:
    """The labels of a project as its files have them.

    Attributes:
    class_names: by class id; None keeps the known ones.
        fingerprint: the same for the same files; None when not all could be read, so that the next
            registration reads them again. `known_labels_fingerprint` gives it back.
    """

    files: Sequence[ImageLabelFile]
    class_names: Mapping[int, str] | None
    fingerprint: str | None


@dataclass(frozen=True)
class RegistrationCounts:
    """What a registration changed."""

    added: int
    changed: int
    moved: int
    returned: int
    missing: int
    relabeled: int


def known_files(database: Database, project_id: UUID) -> dict[str, KnownFile]:
    """The files of a project by relative path, as they were at the last registration."""
    rows = database.rows(
        "SELECT i.relative_path, i.file_size, i.modified_at_ns, i.state = 'missing', "
        "s.sha256 FROM project_images i JOIN shared_images s ON s.id = i.shared_image_id "
        "WHERE i.project_id = :id",
        id=project_id,
    )
    return {row[0]: KnownFile(*row[1:]) for row in rows}


def known_sizes(database: Database, project_id: UUID) -> dict[str, tuple[int | None, int | None]]:
    """Width and height in pixels, where known, of the images of a project by relative path."""
    rows = database.rows(
        "SELECT i.relative_path, s.width, s.height FROM project_images i "
        "JOIN shared_images s ON s.id = i.shared_image_id WHERE i.project_id = :id",
        id=project_id,
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def known_labels_fingerprint(database: Database, project_id: UUID) -> str | None:
    """The fingerprint of the label files at the last registration; None before the first."""
    with database.transaction() as connection:
        found = execute(
            connection, "SELECT labels_fingerprint FROM projects WHERE id = :id", id=project_id
        ).scalar()
    return None if found is None else str(found)


def register_files(
    database: Database,
    project: ProjectRecord,
    files: Iterable[RegisteredFile],
    present_paths: Iterable[str],
    *,
    labels: LabelRegistration | None = None,
    before: Callable[[Connection], None] = lambda _: None,
    after: Callable[[Connection], None] = lambda _: None,
) -> RegistrationCounts:
    """Bring the images of a project up to date with its folder, in one transaction.

    A new path with the content of an image that has gone is that image, moved: it keeps its id and
    all that hangs on it. An image that was missing and is back is the same row, too. Known
    unchanged files may be left out, while `present_paths` names every image file that is there;
    `labels` is None when no label file has changed. `before` (which may add the project) and
    `after` run first and last in the same transaction.
    """
    with database.transaction() as connection:
        before(connection)
        execute(connection, "SELECT 1 FROM projects WHERE id = :id FOR UPDATE", id=project.id)
        _copy_files(connection, project, files)
        copy_into(
            connection,
            "CREATE TEMPORARY TABLE present_paths (relative_path text) ON COMMIT DROP",
            "present_paths",
            ((path,) for path in present_paths),
        )
        copy_into(
            connection,
            "CREATE TEMPORARY TABLE label_files (relative_path text, split text, label_path text, "
            "label_format text, label_count int, classes text[]) ON COMMIT DROP",
            "label_files",
            (
                (
                    *(f.relative_path, f.split, f.label_path, f.label_format, f.label_count),
                    list(dict.fromkeys(map(_class_name, f.classes))),
                )
                for f in (labels.files if labels is not None else ())
            ),
        )
        values = {"project_id": project.id}

        def run(statement: str) -> int:
            return execute(connection, statement, **values).rowcount

        run(_ADD_CONTENTS)
        moved = execute(connection, _MOVE, **values).scalars().all()
        execute(connection, _FORGET_COMPARISONS, ids=moved)
        execute(connection, _MOVE_CLASSES, ids=moved)
        # Before they are written: one that was only touched is no changed image.
        changed = execute(connection, _COUNT_CHANGED, **values).scalar_one()
        written = execute(connection, _ADD_OR_CHANGE, **values).all()
        returned, missing = run(_MARK_PRESENT), run(_MARK_MISSING)
        run(_SPLIT_OF_LABELED_SOURCE)
        relabeled = run(_LABEL)
        for statement in _CLASSIFY:
            run(statement)
        execute(
            connection,
            "UPDATE projects SET updated_at = now(), "
            "class_names = coalesce(CAST(:class_names AS jsonb), class_names), "
            "labels_fingerprint = CASE WHEN :keep THEN labels_fingerprint "
            "ELSE CAST(:fingerprint AS text) END WHERE id = :id",
            id=project.id,
            class_names=None
            if labels is None or labels.class_names is None
            else json.dumps({str(i): storable_json(n) for i, n in labels.class_names.items()}),
            keep=labels is None,
            fingerprint=None if labels is None else labels.fingerprint,
        )
        after(connection)
        run(_SPLIT_OF_SOURCE)
    return RegistrationCounts(
        added=sum(row.is_new for row in written),
        changed=changed,
        moved=len(moved),
        returned=returned,
        missing=missing,
        relabeled=relabeled,
    )


_ADD_CONTENTS = """
INSERT INTO shared_images (id, sha256, file_path, width, height, file_size, format)
SELECT DISTINCT ON (sha256)
    gen_random_uuid(), sha256, file_path, width, height, file_size, format
FROM new_files ORDER BY sha256, relative_path
ON CONFLICT (sha256) DO NOTHING
"""

# One gone path for one new path of the same content, in the order of the paths. Of several
# candidates those that are missing the shortest come first: they are the likeliest to have moved.
_MOVE = """
WITH gone AS (
    SELECT i.id, s.sha256, row_number() OVER (
        PARTITION BY s.sha256
        ORDER BY i.missing_since DESC NULLS FIRST, i.relative_path COLLATE "C"
    ) AS place
    FROM project_images i JOIN shared_images s ON s.id = i.shared_image_id
    WHERE i.project_id = :project_id AND NOT EXISTS (
        SELECT 1 FROM present_paths p WHERE p.relative_path = i.relative_path
    )
), arrived AS (
    SELECT f.*, row_number() OVER (
        PARTITION BY f.sha256 ORDER BY f.relative_path COLLATE "C"
    ) AS place
    FROM new_files f WHERE NOT EXISTS (
        SELECT 1 FROM project_images i
        WHERE i.project_id = :project_id AND i.relative_path = f.relative_path
    )
)
UPDATE project_images k
SET relative_path = a.relative_path, filename = a.filename, file_size = a.file_size,
    modified_at_ns = a.modified_at_ns, state = 'present', missing_since = NULL
FROM gone g JOIN arrived a USING (sha256, place)
WHERE k.id = g.id
RETURNING k.id
"""

# Of several nearest images the first path counts, so under its new path an image is compared anew.
_FORGET_COMPARISONS = """
DELETE FROM project_image_quality WHERE project_image_id = ANY(CAST(:ids AS uuid[]))
"""

_ADD_OR_CHANGE = """
INSERT INTO project_images AS known (
    id, project_id, shared_image_id, relative_path, filename, file_size, modified_at_ns, state
)
SELECT gen_random_uuid(), :project_id, s.id, f.relative_path, f.filename, f.file_size,
       f.modified_at_ns, 'present'
FROM new_files f JOIN shared_images s USING (sha256)
WHERE NOT EXISTS (
    SELECT 1 FROM project_images i WHERE i.project_id = :project_id
    AND i.relative_path = f.relative_path AND i.shared_image_id = s.id
    AND (i.file_size, i.modified_at_ns) = (f.file_size, f.modified_at_ns)
)
ON CONFLICT (project_id, relative_path) DO UPDATE SET
    shared_image_id = excluded.shared_image_id,
    file_size = excluded.file_size,
    modified_at_ns = excluded.modified_at_ns,
    -- Somebody has put another picture in the place of a generated one: it is theirs now.
    generated_from_id = CASE WHEN known.shared_image_id = excluded.shared_image_id
        THEN known.generated_from_id END,
    generation = CASE WHEN known.shared_image_id = excluded.shared_image_id
        THEN known.generation END
RETURNING (xmax = 0) AS is_new
"""

_COUNT_CHANGED = """
SELECT count(*) FROM new_files f
JOIN project_images i ON i.project_id = :project_id AND i.relative_path = f.relative_path
JOIN shared_images s ON s.id = i.shared_image_id
WHERE s.sha256 <> f.sha256
"""

_MARK_PRESENT = """
UPDATE project_images SET state = 'present', missing_since = NULL
WHERE project_id = :project_id AND state <> 'present' AND EXISTS (
    SELECT 1 FROM present_paths p WHERE p.relative_path = project_images.relative_path
)
"""

_MARK_MISSING = """
UPDATE project_images SET state = 'missing', missing_since = now()
WHERE project_id = :project_id AND state <> 'missing' AND NOT EXISTS (
    SELECT 1 FROM present_paths p WHERE p.relative_path = project_images.relative_path
)
"""

_LABEL = """
UPDATE project_images i
SET is_labeled = (f.label_count IS NOT NULL), label_path = f.label_path,
    label_format = f.label_format, label_count = f.label_count, split = f.split
FROM label_files f
WHERE i.project_id = :project_id AND i.relative_path = f.relative_path
  AND (i.is_labeled, i.label_path, i.label_format, i.label_count, i.split) IS DISTINCT FROM
      ((f.label_count IS NOT NULL), f.label_path, f.label_format, f.label_count, f.split)
"""


_MOVE_CLASSES = """
UPDATE image_classes k SET relative_path = i.relative_path FROM project_images i
WHERE i.id = k.project_image_id AND i.id = ANY(CAST(:ids AS uuid[]))
"""

# The classes of the images whose labels were read are those that these have now.
_CLASSIFY = (
    """
    INSERT INTO project_classes (project_id, name)
    SELECT DISTINCT CAST(:project_id AS uuid), unnest(classes) FROM label_files
    ON CONFLICT (project_id, name) DO NOTHING
    """,
    """
    DELETE FROM image_classes k USING label_files f, project_images i, project_classes c
    WHERE i.project_id = :project_id AND i.relative_path = f.relative_path
      AND k.project_image_id = i.id AND c.id = k.class_id AND c.name <> ALL(f.classes)
    """,
    """
    INSERT INTO image_classes (project_image_id, class_id, relative_path)
    SELECT i.id, c.id, i.relative_path FROM label_files f
    CROSS JOIN LATERAL unnest(f.classes) AS n(name)
    JOIN project_images i ON i.project_id = :project_id AND i.relative_path = f.relative_path
    JOIN project_classes c ON c.project_id = :project_id AND c.name = n.name
    ON CONFLICT (project_image_id, class_id) DO NOTHING
    """,
    """
    DELETE FROM project_classes c WHERE c.project_id = :project_id
    AND NOT EXISTS (SELECT 1 FROM image_classes k WHERE k.class_id = c.id)
    """,
)
_LONGEST_CLASS = 500


def _class_name(name: str) -> str:
    return storable_text(name, longest=_LONGEST_CLASS)


# Lists of splits and COCO files name the original only.
_SPLIT_OF_LABELED_SOURCE = """
UPDATE label_files f SET split = s.split
FROM project_images i
JOIN project_images o ON o.id = i.generated_from_id
JOIN label_files s ON s.relative_path = o.relative_path
WHERE i.project_id = :project_id AND i.relative_path = f.relative_path AND f.split IS NULL
"""

# Those that have just become generated ones.
_SPLIT_OF_SOURCE = """
UPDATE project_images i SET split = s.split FROM project_images s
WHERE i.project_id = :project_id AND i.generated_from_id = s.id
  AND i.split IS NULL AND s.split IS NOT NULL
"""


def _copy_files(
    connection: Connection, project: ProjectRecord, files: Iterable[RegisteredFile]
) -> None:
    def rows() -> Iterator[Sequence[Any]]:
        for file in files:
            path = project.path / file.relative_path
            yield (
                *(file.relative_path, path.name, str(path), file.size, file.modified_at_ns),
                *(file.sha256, file.width, file.height, file.format),
            )

    copy_into(
        connection,
        "CREATE TEMPORARY TABLE new_files (relative_path text, filename text, file_path text, "
        "file_size bigint, modified_at_ns bigint, sha256 text, width int, height int, "
        "format text) ON COMMIT DROP",
        "new_files",
        rows(),
    )


# From so many rows on a join of the whole is never the slower one by much.
_MANY_ROWS = 10_000


def copy_into(
    connection: Connection, definition: str, table: str, rows: Iterable[Sequence[Any]]
) -> None:
    """Make a temporary table and fill it; a large one is joined as a whole from then on."""
    execute(connection, definition)
    with (
        driver_connection(connection).cursor() as cursor,
        cursor.copy(f"COPY {table} FROM STDIN") as copy,
    ):
        count = -1
        for count, row in enumerate(rows):  # noqa: B007 - counted to the end
            copy.write_row(row)
    # Nobody else gathers statistics of a temporary table, and the plans of large joins need them.
    execute(connection, f"ANALYZE {table}")
    if count >= _MANY_ROWS:
        # Statistics of the other tables may be from before they were filled: row by row, a join of
        # a hundred thousand with as many would take hours.
        execute(connection, "SET LOCAL enable_nestloop = off")
