"""The quality of a project, for people and for programs."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deployments.cli.output.jobs import job_as_json
from deployments.cli.output.tables import print_report
from deployments.cli.output.terminal import rows_to_load
from storage.database.connection import Database
from storage.jobs.records import JobRecord
from storage.projects.projects import ProjectRecord
from storage.projects.quality import load_quality_overview
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
        f'{_this_command()} db shell -c "SELECT relative_path, overall_quality, issues FROM '
        f"image_quality WHERE project_id = '{project.id}' ORDER BY overall_quality, relative_path "
        'LIMIT 10"'
    )
    print_report(
        quality_report(project.name, overview, counts, result["snapshot"]),
        ("page", result["page"]),
        ("table", table),
    )


def _this_command() -> str:
    """How a person types this very command again: the same program on the same home."""
    home = os.environ.get("VISIONFLOWS_HOME")
    setting = "" if home is None else f"VISIONFLOWS_HOME={shlex.quote(home)} "
    is_on_path = shutil.which("visionflows") == str(Path(sys.argv[0]).absolute())
    return setting + ("visionflows" if is_on_path else shlex.quote(sys.argv[0]))
