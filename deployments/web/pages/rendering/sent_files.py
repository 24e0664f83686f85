"""What the button "Report" of a page gives: the same as a file to send."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from deployments.web.dependencies import DatabaseDependency, SettingsDependency
from deployments.web.files.sent_reports import report_to_send
from deployments.web.pages.rendering.routes import page_router
from tasks.reports.report import SentNoun

router = page_router()


@router.get("/report")
def send_report(
    database: DatabaseDependency,
    settings: SettingsDependency,
    noun: SentNoun,
    key: Annotated[str, Query(min_length=1, max_length=4000)],
) -> Response:
    """Download one HTML file with small pictures inside."""
    content = report_to_send(database, settings, noun, key)
    return Response(
        content.encode("utf-8", "replace"),
        media_type="text/html; charset=utf-8",
        # As a file: it has a style of its own, which no page here may have.
        headers={"Content-Disposition": f'attachment; filename="{noun.value}.html"'},
    )
