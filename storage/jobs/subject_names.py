"""What people call the subjects of jobs."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Connection

from storage.database.connection import Database, execute
from storage.database.tables.jobs import JobKind
from storage.jobs.records import JobRecord

_NAMES = """
SELECT p.id, p.name FROM projects p WHERE p.id = ANY(CAST(:ids AS uuid[]))
UNION ALL
SELECT r.id, r.name FROM releases r WHERE r.id = ANY(CAST(:ids AS uuid[]))
UNION ALL
SELECT r.id, m.name || ' at ' || r.threshold || ' on ' || c.name
FROM runs r JOIN models m ON m.id = r.model_id JOIN collections c ON c.id = r.collection_id
WHERE r.id = ANY(CAST(:ids AS uuid[]))
"""


def subject_names(database: Database, jobs: Iterable[JobRecord]) -> dict[str, str]:
    """The names of what some jobs are about, by subject; a subject without one is left out."""
    jobs = list(jobs)
    pairs: dict[str, tuple[str, ...]] = {
        job.subject: tuple(str(job.parameters.get(place)) for place in ("first", "second"))
        for job in jobs
        if job.kind is JobKind.COMPARE_RUNS
    }
    pairs |= {
        job.subject: (str(job.parameters.get("run")),)
        for job in jobs
        if job.kind is JobKind.EVALUATE_RUN
    }
    wanted = {job.subject for job in jobs}.union(*pairs.values())
    with database.reading() as connection:
        names = _names(connection, wanted)
    return names | {
        subject: " and ".join(names.get(one, "a run") for one in pair)
        for subject, pair in pairs.items()
    }


def _names(connection: Connection, subjects: Iterable[str]) -> dict[str, str]:
    ids = []
    for subject in subjects:
        try:
            ids.append(UUID(subject))
        except ValueError:
            continue  # a folder or a name: it says itself what it is
    return {str(row[0]): row[1] for row in execute(connection, _NAMES, ids=ids)}
