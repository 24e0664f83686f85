"""Measurements and comparisons of images in the database, read and written as sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, or_, text
from sqlalchemy.dialects.postgresql import insert

from storage.database.connection import Database, driver_connection, execute
from storage.database.tables.quality import ImageQualityMetrics, MeasurementStatus
from storage.files.places import place_of
from storage.jobs.locks import WORK_LIST


@dataclass(frozen=True)
class MeasurementVersions:
    """What decides whether a stored measurement is still what would be measured today."""

    metrics: int
    pillow: str
    opencv: str


@dataclass(frozen=True)
class UnmeasuredImage:
    """An image of a project whose content has no current measurement."""

    project_image_id: UUID
    shared_image_id: UUID
    file_size: int


@dataclass(frozen=True)
class ImageFile:
    """Where an image of a project lies, and what it looked like when it was registered."""

    project_image_id: UUID
    shared_image_id: UUID
    path: Path
    size: int
    modified_at_ns: int


@dataclass(frozen=True)
class MeasuredImage:
    """What the comparison of a project's images needs of one of them."""

    project_image_id: UUID
    relative_path: str
    sharpness_variance: float
    brightness: float
    contrast: float
    focus: float | None
    perceptual_hash: str
    difference_hash: str
    low_information: bool
    compared_hash: str | None
    nearest_image_id: UUID | None


@dataclass(frozen=True)
class ComparedImage:
    """What the other images of its project decide about an image; in the order of the columns."""

    project_image_id: UUID
    uniqueness: float
    nearest_image_id: UUID | None
    nearest_distance: int | None
    duplicate_group: int | None
    overall_quality: float
    issues: list[str]
    compared_hash: str | None


def list_unmeasured_images(
    database: Database,
    project_id: UUID,
    versions: MeasurementVersions,
    *,
    final_error_codes: Sequence[str],
    force: bool,
) -> list[UnmeasuredImage]:
    """The images of a project that are to be measured, equal contents next to each other.

    Left out are those measured with the present version of the metrics, and those that failed for a
    reason in their content (`final_error_codes`) with the present decoders. The same
    bytes and decoders must give those codes again. Left out are also files that could not be
    measured again although their content was, until they change.
    """
    values = _unmeasured_values(project_id, versions, final_error_codes, force)
    with database.transaction() as connection:
        return [UnmeasuredImage(*row) for row in execute(connection, _UNMEASURED, **values)]


def fix_unmeasured_images(
    connection: Connection,
    job_id: UUID,
    project_id: UUID,
    versions: MeasurementVersions,
    *,
    final_error_codes: Sequence[str],
    force: bool,
) -> int:
    """Keep the images of `list_unmeasured_images` as the work list of a waiting job; how many."""
    return int(
        execute(
            connection,
            "INSERT INTO job_chunks (job_id, number, items, state, attempt, position, processed, "
            "failed) SELECT :job_id, :number, COALESCE(array_agg(u.id), '{}'), 'pending', 0, 0, "
            f"0, 0 FROM ({_UNMEASURED}) u RETURNING cardinality(items)",
            job_id=job_id,
            number=WORK_LIST,
            **_unmeasured_values(project_id, versions, final_error_codes, force),
        ).scalar_one()
    )


_UNMEASURED = """
        SELECT i.id, i.shared_image_id, i.file_size
        FROM project_images i
        LEFT JOIN image_quality_metrics m ON m.shared_image_id = i.shared_image_id
        WHERE i.project_id = :project_id AND i.state = 'present'
          AND (
            :force OR m.shared_image_id IS NULL
            OR (m.metrics_version <> :metrics AND NOT (m.status = 'completed' AND EXISTS (
                SELECT 1 FROM project_image_failures f WHERE f.project_image_id = i.id
                AND f.metrics_version = :metrics
                AND (f.file_size, f.modified_at_ns) = (i.file_size, i.modified_at_ns)
            )))
            OR (m.status = 'failed' AND NOT COALESCE(
                m.error_code = ANY(:final_error_codes)
                AND m.pillow_version = :pillow AND m.opencv_version = :opencv, false
            ))
          )
        ORDER BY min(i.relative_path COLLATE "C") OVER (PARTITION BY i.shared_image_id),
                 i.relative_path COLLATE "C"
"""


def _unmeasured_values(
    project_id: UUID, versions: MeasurementVersions, final_error_codes: Sequence[str], force: bool
) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "force": force,
        "final_error_codes": [str(code) for code in final_error_codes],
        "metrics": versions.metrics,
        "pillow": versions.pillow,
        "opencv": versions.opencv,
    }


def load_image_files(connection: Connection, project_image_ids: Sequence[UUID]) -> list[ImageFile]:
    """The files of some images of a project, in the order of the ids.

    Images that have left it in the meantime are left out.
    """
    rows = execute(
        connection,
        "SELECT i.id, i.shared_image_id, p.path, i.relative_path, i.file_size, "
        "i.modified_at_ns FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS w(id, place) "
        "JOIN project_images i ON i.id = w.id JOIN projects p ON p.id = i.project_id "
        "WHERE i.state = 'present' ORDER BY w.place",
        ids=list(project_image_ids),
    )
    return [ImageFile(row[0], row[1], place_of(row[2]) / row[3], row[4], row[5]) for row in rows]


def store_measurements(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert or replace measurements; a failure never replaces a good measurement.

    Rows have columns of `image_quality_metrics` by name, all the same ones.
    """
    if not rows:
        return
    # One order for all writers: two projects that share contents must not lock them crosswise.
    ordered = sorted(rows, key=lambda row: str(row["shared_image_id"]))
    table = ImageQualityMetrics.__table__  # type: ignore[attr-defined]
    statement = insert(table)
    replaced = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if column.name not in ("shared_image_id", "computed_at")
    }
    statement = statement.on_conflict_do_update(
        index_elements=["shared_image_id"],
        set_={**replaced, "computed_at": text("now()")},
        where=or_(
            statement.excluded.status == MeasurementStatus.COMPLETED,
            table.c.status != MeasurementStatus.COMPLETED,
        ),
    )
    connection.execute(statement, [dict(row) for row in ordered])


def store_file_failures(
    connection: Connection, measured: Sequence[UUID], failed: Sequence[Mapping[str, Any]]
) -> None:
    """Keep which files failed although their content has a good measurement, and which did not.

    `failed` have the columns of `project_image_failures`, but the time; `measured` are ids of
    project images. To be called after `store_measurements`.
    """
    execute(
        connection,
        "DELETE FROM project_image_failures WHERE project_image_id = ANY(CAST(:ids AS uuid[]))",
        ids=list(measured),
    )
    if failed:
        connection.execute(text(_STORE_FAILURE), [dict(row) for row in failed])


_STORE_FAILURE = """
INSERT INTO project_image_failures AS known (project_image_id, file_size, modified_at_ns,
    metrics_version, error_code, error_message)
SELECT i.id, :file_size, :modified_at_ns, :metrics_version, :error_code, :error_message
FROM project_images i JOIN image_quality_metrics m USING (shared_image_id)
WHERE i.id = :project_image_id AND m.status = 'completed'
ON CONFLICT (project_image_id) DO UPDATE SET
    (file_size, modified_at_ns, metrics_version, error_code, error_message, failed_at) =
    (excluded.file_size, excluded.modified_at_ns, excluded.metrics_version, excluded.error_code,
     excluded.error_message, now())
"""


def fill_image_facts(connection: Connection, facts: Sequence[Mapping[str, Any]]) -> None:
    """Store `width`, `height` and `format` of contents whose header had not told them before."""
    if facts:
        connection.execute(
            text(
                "UPDATE shared_images SET width = :width, height = :height, format = :format "
                "WHERE id = :shared_image_id AND (width, height, format) IS DISTINCT FROM "
                "(CAST(:width AS int), CAST(:height AS int), CAST(:format AS text))"
            ),
            # In the order of store_measurements, so that two writers never wait crosswise.
            [dict(fact) for fact in sorted(facts, key=lambda row: str(row["shared_image_id"]))],
        )


def load_measured_images(connection: Connection, project_id: UUID) -> list[MeasuredImage]:
    """All measured, present images of a project, in the byte order of their relative paths."""
    rows = execute(
        connection,
        "SELECT i.id, i.relative_path, m.sharpness_variance, m.brightness, m.contrast, "
        "m.focus, m.perceptual_hash, m.difference_hash, m.low_information, "
        "q.compared_hash, q.nearest_image_id "
        "FROM project_images i JOIN image_quality_metrics m USING (shared_image_id) "
        "LEFT JOIN project_image_quality q ON q.project_image_id = i.id "
        "WHERE i.project_id = :project_id AND i.state = 'present' AND m.status = 'completed' "
        'ORDER BY i.relative_path COLLATE "C"',
        project_id=project_id,
    )
    return [MeasuredImage(*row) for row in rows]


def store_comparisons(
    connection: Connection,
    project_id: UUID,
    images: Iterable[ComparedImage],
    *,
    sharpness_reference: float,
) -> int:
    """Make the comparisons of a project exactly these; how many rows that has changed."""
    execute(
        connection,
        "CREATE TEMPORARY TABLE compared (LIKE project_image_quality INCLUDING DEFAULTS) "
        "ON COMMIT DROP",
    )
    columns = (
        "uniqueness, nearest_image_id, nearest_distance, duplicate_group, overall_quality, "
        "issues, compared_hash, sharpness_reference"
    )
    with (
        driver_connection(connection).cursor() as cursor,
        cursor.copy(f"COPY compared (project_image_id, {columns}) FROM STDIN") as copy,
    ):
        for image in images:
            copy.write_row((*vars(image).values(), sharpness_reference))
    old = ", ".join(f"known.{column.strip()}" for column in columns.split(","))
    new = ", ".join(f"excluded.{column.strip()}" for column in columns.split(","))
    written = execute(
        connection,
        f"INSERT INTO project_image_quality AS known (project_image_id, {columns}, "
        f"computed_at) SELECT project_image_id, {columns}, now() FROM compared "
        f"ON CONFLICT (project_image_id) DO UPDATE SET ({columns}, computed_at) = "
        f"({new}, now()) WHERE ({old}) IS DISTINCT FROM ({new})",
    ).rowcount
    removed = execute(
        connection,
        "DELETE FROM project_image_quality q USING project_images i "
        "WHERE q.project_image_id = i.id AND i.project_id = :project_id AND NOT EXISTS "
        "(SELECT 1 FROM compared c WHERE c.project_image_id = q.project_image_id)",
        project_id=project_id,
    ).rowcount
    return written + removed
