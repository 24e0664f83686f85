"""The quality of a project, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from deployments.cli.output.jobs import job_as_json
from deployments.cli.output.tables import print_report
from deployments.cli.output.terminal import rows_to_load
from storage.database.connection import Database
from storage.jobs.records import JobRecord
from storage.projects.projects import ProjectRecord
from storage.projects.quality_overview import load_quality_overview
from tasks.quality.report import quality_report


def quality_as_json(database: Database, project: ProjectRecord, job: JobRecord) -> dict[str, Any]:
    """The job and the quality of its project, for `--json`."""
    overview = load_quality_overview(database, project.id)
    return {"job": job_as_json(job), "project": project.name, "quality": asdict(overview)}


def print_quality(
    database: Database, project: ProjectRecord, job: JobRecord, result: dict[str, Any]
) -> None:
    """The quality of a project after a run, and where the whole of it lies."""
    found = load_quality_overview(database, project.id, most_rows=rows_to_load())
    overview = asdict(found)
    counts = job.processed, job.failed
    table = (
        f'visionflows db shell -c "SELECT relative_path, overall_quality, issues FROM '  # noqa: S608
        # Words to copy; nothing here runs them.
        f"image_quality WHERE project_id = '{project.id}' ORDER BY overall_quality, relative_path "
        'LIMIT 10"'
    )
    print_report(
        quality_report(project.name, overview, counts, result["snapshot"]),
        ("page", result["page"]),
        ("table", table),
    )
