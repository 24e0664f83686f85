"""Showing what an ingest has done."""

from __future__ import annotations

from typing import Any

from tasks.projects.ingest.report import ingest_report
from tasks.reports.keys import artifact_key
from tasks.reports.steps import publish_report
from tasks.running.decorators import task


@task(run_name="publish report")
def publish_ingest_report(result: dict[str, Any]) -> str:
    """Show in Prefect what an ingest has done, and keep it as a page; the page's path."""
    project_id = str(result["project_id"])
    key = artifact_key("ingest-summary", str(result["project"]), project_id)
    return publish_report(ingest_report(result), "ingest-project", project_id, key=key)
