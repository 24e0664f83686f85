"""What an ingest did, in the terminal."""

from __future__ import annotations

from typing import Any

from deployments.cli.output.jobs import print_at_work
from deployments.cli.output.tables import print_report
from deployments.cli.output.terminal import print_problem
from tasks.projects.ingest.report import ingest_report, preview_report


def print_ingest(report: dict[str, Any]) -> None:
    """What one project gained and lost, or what it would; failed, or at work already."""
    if "error" in report:
        print_problem(f"{report['project']}: {report['error']}")
    elif "job_id" not in report:
        print_report(preview_report(report))
    elif report["already_running"]:
        print_at_work(f"Ingesting {report['project']}", report["job_id"])
    else:
        print_report(ingest_report(report), ("page", report["page"]))
