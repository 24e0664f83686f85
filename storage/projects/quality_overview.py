"""The quality of a project at a glance: lists, and counts that are kept until an image changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from storage.database.connection import Database, execute
from storage.projects.image_pages import FAILED_FLAGS, ListedState, is_labeled, issues_of, state_of


@dataclass(frozen=True)
class QualityCounts:
    """How many images of a project are what.

    Attributes:
        images: present images of the project; `missing` ones are not among them.
        labeled: present ones with labels.
        histograms: for each measure ten counts, of 0..0.1, 0.1..0.2, ... 0.9..1.
    """

    images: int
    missing: int
    labeled: int
    completed: int
    failed: int
    mean_overall_quality: float | None
    issues: dict[str, int]
    histograms: dict[str, list[int]]
    duplicate_group_count: int


@dataclass(frozen=True)
class QualityOverview(QualityCounts):
    """The quality of a project at a glance.

    Attributes:
        duplicate_groups: paths of each group's images, by group number; the first ones.
        failures: path and reason of images that could not be measured; the first ones.
        kept: path and reason of images that keep an earlier measurement, because their files could
            not be measured again; the first ones of `kept_count`.
    """

    worst: list[dict[str, Any]]
    duplicate_groups: dict[int, list[str]]
    duplicate_group_sizes: dict[int, int]
    failures: list[tuple[str, str]]
    kept_count: int
    kept: list[tuple[str, str]]


_MEASURES = ("overall_quality", "sharpness", "brightness", "contrast", "uniqueness")
_BINS = 10
_PRESENT = "FROM image_listing WHERE project_id = :project_id AND flags & 3 <> 3"


def _tenth(measure: str) -> str:
    # least() alone would take no value for 9.
    return (
        f"CASE WHEN {measure} IS NOT NULL AND flags & 3 <> 3 "
        f"THEN least(floor({measure} * 10), 9)::int END AS {measure}"
    )


# One look at all images: how many have which flags, and how many lie in which tenth of a measure.
# Their sum is one of decimal numbers, which is the same in whatever order the rows lie.
_COUNTS = f"""
SELECT {", ".join(f"GROUPING({name})" for name in ("flags", *_MEASURES))},
       flags, {", ".join(_MEASURES)}, count(*), sum(value), count(value)
FROM (
    SELECT flags, {", ".join(map(_tenth, _MEASURES))},
           CASE WHEN flags & 3 <> 3 THEN overall_quality::numeric END AS value
    FROM image_listing WHERE project_id = :project_id
) listed
GROUP BY GROUPING SETS ((flags), {", ".join(f"({name})" for name in _MEASURES)})
"""


def load_quality_counts(database: Database, project_id: UUID) -> QualityCounts:
    """Count the images of a project; where none has changed since, what was counted then."""
    rows = database.rows(
        "SELECT quality_counts FROM projects p WHERE id = :project_id AND NOT EXISTS "
        "(SELECT 1 FROM image_listing_changes c WHERE c.project_id = p.id)",
        project_id=project_id,
    )
    if rows and rows[0][0] is not None:
        return QualityCounts(**rows[0][0])
    try:
        return _count_and_keep(database, project_id)
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.errors.SerializationFailure):
            raise
    # Somebody else keeps them right now, or the project is being changed.
    with database.reading() as connection:
        return _count(connection, project_id)


def _count_and_keep(database: Database, project_id: UUID) -> QualityCounts:
    """Count in one state of the database, whose changes are noted in it and are done with then.

    What is committed later has notes of its own, which this does not see and leaves.
    """
    with database.engine.connect() as connection:
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            counts = _count(connection, project_id)
            execute(
                connection,
                "DELETE FROM image_listing_changes WHERE project_id = :project_id",
                project_id=project_id,
            )
            execute(
                connection,
                "UPDATE projects SET quality_counts = :counts WHERE id = :project_id",
                project_id=project_id,
                counts=Jsonb(asdict(counts)),
            )
    return counts


def _count(connection: Connection, project_id: UUID) -> QualityCounts:
    states = dict.fromkeys(ListedState, 0)
    issues: dict[str, int] = {}
    histograms = {name: [0] * _BINS for name in _MEASURES}
    labeled, quality_sum, quality_count = 0, Decimal(), 0
    columns = 1 + len(_MEASURES)
    for row in execute(connection, _COUNTS, project_id=project_id):
        is_other, values = row[:columns], row[columns : 2 * columns]
        images, value_sum, value_count = row[2 * columns :]
        if not is_other[0]:
            states[state_of(values[0])] += images
            if state_of(values[0]) is ListedState.MISSING:
                continue
            labeled += images if is_labeled(values[0]) else 0
            quality_sum += value_sum or 0
            quality_count += value_count
            for issue in issues_of(values[0]):
                issues[issue.value] = issues.get(issue.value, 0) + images
            continue
        place = is_other.index(0)
        if values[place] is not None:
            histograms[_MEASURES[place - 1]][values[place]] = images
    groups = execute(
        connection, f"SELECT count(DISTINCT duplicate_group) {_PRESENT}", project_id=project_id
    ).scalar_one()
    return QualityCounts(
        images=sum(states.values()) - states[ListedState.MISSING],
        missing=states[ListedState.MISSING],
        labeled=labeled,
        completed=states[ListedState.MEASURED],
        failed=states[ListedState.FAILED],
        mean_overall_quality=float(quality_sum / quality_count) if quality_count else None,
        issues=dict(sorted(issues.items(), key=lambda one: (-one[1], one[0]))),
        histograms=histograms,
        duplicate_group_count=groups,
    )


_WORST = f"""
SELECT relative_path, overall_quality, sharpness, focus, brightness, contrast, uniqueness, flags
{_PRESENT} AND overall_quality IS NOT NULL
ORDER BY overall_quality, relative_path LIMIT :most_rows
"""
_FAILURES = """
SELECT l.relative_path, m.error_message FROM image_listing l
JOIN project_images i ON i.id = l.project_image_id
JOIN image_quality_metrics m USING (shared_image_id)
WHERE l.project_id = :project_id AND l.flags = ANY(:failed_flags)
ORDER BY l.relative_path LIMIT :most_rows
"""
_KEPT = """
SELECT i.relative_path, f.error_message, count(*) OVER ()
FROM project_image_failures f JOIN project_images i ON i.id = f.project_image_id
JOIN image_quality_metrics m USING (shared_image_id)
WHERE i.project_id = :project_id AND i.state = 'present' AND m.status = 'completed'
AND (f.file_size, f.modified_at_ns) = (i.file_size, i.modified_at_ns)
ORDER BY i.relative_path COLLATE "C" LIMIT :most_rows
"""


@dataclass(frozen=True)
class QualityFailures:
    """Images of a project that could not be measured, as in `QualityOverview`."""

    failures: list[tuple[str, str]]
    kept_count: int
    kept: list[tuple[str, str]]


def load_quality_failures(
    database: Database, project_id: UUID, *, most_rows: int = 50
) -> QualityFailures:
    """Images that could not be measured, or not again; the first ones of each."""
    with database.reading() as connection:
        values = {"project_id": project_id, "most_rows": most_rows}
        failures = execute(connection, _FAILURES, **values, failed_flags=FAILED_FLAGS).all()
        kept = execute(connection, _KEPT, **values).all()
    return QualityFailures(
        [(row[0], row[1]) for row in failures],
        kept[0][2] if kept else 0,
        [(row[0], row[1]) for row in kept],
    )


def load_quality_overview(
    database: Database, project_id: UUID, *, most_rows: int = 50
) -> QualityOverview:
    """The quality of a project at a glance; at most `most_rows` images in each list."""
    counts = load_quality_counts(database, project_id)
    with database.reading() as connection:

        def rows(query: str) -> Sequence[Any]:
            return execute(connection, query, project_id=project_id, most_rows=most_rows).all()

        worst = [
            {**row._mapping, "issues": [issue.value for issue in issues_of(row.flags)]}
            for row in rows(_WORST)
        ]
        groups: dict[int, list[str]] = {}
        sizes: dict[int, int] = {}
        for group, path in rows(
            f"SELECT duplicate_group, relative_path {_PRESENT} "
            "AND duplicate_group <= :most_rows ORDER BY 1, relative_path"
        ):
            members = groups.setdefault(group, [])
            sizes[group] = sizes.get(group, 0) + 1
            if len(members) < most_rows:
                members.append(path)
    return QualityOverview(
        **asdict(counts),
        worst=[{name: row[name] for name in row if name != "flags"} for row in worst],
        duplicate_groups=groups,
        duplicate_group_sizes=sizes,
        **asdict(load_quality_failures(database, project_id, most_rows=most_rows)),
    )
