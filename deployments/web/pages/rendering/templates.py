"""Templates, and what all of them may use. User text is escaped wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from deployments.web.pages.rendering import words
from deployments.web.pages.rendering.static_files import static_address

_FOLDER = Path(__file__).parents[1] / "templates"
# A new page that people begin at is one entry here: address and name.
NAVIGATION = (
    ("/", "Home"),
    ("/releases", "Releases"),
    ("/sessions", "Sessions"),
    ("/runs", "Runs"),
    ("/evaluations", "Evaluations"),
    ("/jobs", "Jobs"),
    ("/start", "Start"),
)


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    **values: Any,  # noqa: ANN401 - any value
) -> HTMLResponse:
    """A page, or a part of one, made of a template below `templates/`."""
    content = (
        environment()
        .get_template(template)
        .render(
            path=request.url.path,
            query=request.url.query,
            needs_token=request.app.state.settings.web_token is not None,
            **values,
        )
    )
    return HTMLResponse(content, status)


def is_for_people(request: Request) -> bool:
    """Whether a request is answered with a page: a browser sends it, not to the HTTP API."""
    accepted = request.headers.get("accept", "")
    return not request.url.path.startswith("/api/") and (
        "text/html" in accepted or "hx-request" in request.headers
    )


def error_page(request: Request, status: int, message: str) -> HTMLResponse:
    """The page that says why there is no other."""
    return page(request, "error.html", status=status, code=status, message=message)


def address(path: str, values: Mapping[str, object], **changed: object) -> str:
    """An address with a query of these values; those that are None or "" are left out."""
    chosen = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in {**values, **changed}.items()
        if value is not None and value != ""
    }
    return f"{path}?{urlencode(chosen)}" if chosen else path


@cache
def environment() -> Environment:
    """The templates of all pages."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        navigation=NAVIGATION,
        static=static_address,
        address=address,
        job_title=words.job_title,
        job_state=words.job_state,
        job_tone=words.job_tone,
        job_times=words.job_times,
    )
    made.filters.update(
        bytes=words.byte_count,
        counted=words.counted,
        moment=words.moment,
        number=words.number,
        plain=words.plain,
        share=words.share,
    )
    return made
