"""Keeping a report as a page, and showing it in Prefect."""

from __future__ import annotations

from dataclasses import replace

from prefect.artifacts import create_markdown_artifact

from storage.files import write_files
from storage.settings import get_settings
from tasks.reports.html_page import report_html
from tasks.reports.markdown import escape, report_markdown
from tasks.reports.report import Report

# Where the web application shows what a flow's report is about.
_PAGES = {
    "quality-metrics": "projects/{}",
    "ingest-project": "projects/{}",
    "build-release-stats": "releases/{}",
    "create-release": "releases/{}",
    "collection-inference": "runs/{}",
    "evaluate-run": "evaluations/{}",
    "compute-session-stats": "sessions",
}


def publish_report(
    report: Report, flow: str, subject_id: object, *, key: str, web_page: str | None = None
) -> str:
    """Write a report as a page, and show it as an artifact in Prefect; the page's path.

    `flow` has a folder of pages, where that of the same subject is written anew. `web_page` is the
    path in the web application, where it is not that of the subject.
    """
    settings = get_settings()
    page = settings.report_page(flow, subject_id)
    shown = replace(report, places=[*report.places, ("page", str(page))])
    write_files(page.parent, {page.name: report_html(shown).encode("utf-8", "replace")})
    path = web_page or _PAGES.get(flow, "").format(subject_id)
    link = f"{settings.web_url.rstrip('/')}/{path}" if settings.web_url and path else ""
    create_markdown_artifact(
        report_markdown(shown, link), key=key, description=escape(report.title)
    )
    return str(page)
