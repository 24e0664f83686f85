"""The parts that contents are made of: rows of tables, files about a subject, records of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.database.tables.jobs import JobKind
from storage.database.tables.removals import RemovalNoun
from storage.settings import get_settings

JobSubject = tuple[JobKind, str]


@dataclass(frozen=True)
class Rows:
    """Rows of one table; `where` has its values as `:name`."""

    table: str
    where: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Contents:
    """A thing with all that goes with it.

    Attributes:
        rows: in the order in which they are deleted; the last are those of the thing itself.
        places: files and folders, which may be missing.
        jobs: kinds and subjects of the jobs that write it, and whose records go with it.
        readers: SQL condition on jobs that only read it, see `Rows`.
        runs: names of the runs of inference that go with it.
        stays: a sentence for everything that somebody may think goes, and does not.
        warnings: a sentence for everything else that notices.
    """

    noun: RemovalNoun
    subject: str
    name: str
    rows: list[Rows] = field(default_factory=list)
    places: list[Path] = field(default_factory=list)
    jobs: list[JobSubject] = field(default_factory=list)
    readers: Rows | None = None
    runs: list[str] = field(default_factory=list)
    stays: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def job_rows(jobs: Sequence[JobSubject]) -> list[Rows]:
    """The records of jobs, with their chunks."""
    keys = {"keys": [f"{kind} {subject}" for kind, subject in jobs]}
    chosen = "kind::text || ' ' || subject = ANY(CAST(:keys AS text[]))"
    return [
        Rows("job_chunks", f"job_id IN (SELECT id FROM jobs WHERE {chosen})", keys),
        Rows("jobs", chosen, keys),
    ]


def kept_about(kind: str, ids: Iterable[object], *flows: str) -> list[Path]:
    """Snapshots and pages about some subjects."""
    settings = get_settings()
    return [
        place
        for one in ids
        for place in (
            *sorted(settings.snapshots_folder.glob(f"[!.]*/{kind}={one}")),
            *(settings.report_page(flow, one) for flow in flows),
        )
    ]
