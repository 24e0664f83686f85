"""Errors as answers: a fitting status, and one sentence that says what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from deployments.web.envelope import Problem
from storage.database.failure_sentences import error_in_words
from storage.errors import (
    DatabaseUnavailableError,
    DiskFullError,
    InvalidInputError,
    JobAtWorkError,
    NotFoundError,
    TransientError,
    VisionflowsError,
)

_log = logging.getLogger(__name__)

_MOST_FAULTS = 5

# The first class that fits decides.
_STATUSES: tuple[tuple[type[VisionflowsError], int], ...] = (
    (NotFoundError, 404),
    (InvalidInputError, 422),
    (JobAtWorkError, 409),
    (DatabaseUnavailableError, 503),
    (TransientError, 503),
    (DiskFullError, 507),
)
_MEANINGS = {
    401: "The token is missing or wrong.",
    403: "The request comes from elsewhere, or names another host.",
    404: "There is no such thing.",
    409: "A job is at work on it.",
    413: "The request is larger than allowed.",
    416: "There are no such bytes.",
    422: "A value cannot be used; the message names it.",
    500: "An error that nobody has foreseen; the log of the server has it.",
    503: "The database, Prefect's server or a worker is not there; the message says which.",
    507: "There is no room left on a disk.",
}
EVERYWHERE = (401, 403, 413, 422, 500, 503, 507)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route: these statuses, each with a `Problem`."""
    return {status: {"model": Problem, "description": _MEANINGS[status]} for status in statuses}


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer of a request that was not done."""
    content = Problem(message=message).model_dump()
    return JSONResponse(content, status, None if headers is None else dict(headers))


def status_of(error: VisionflowsError) -> int:
    """The HTTP status of an error of ours."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def add_error_handlers(
    application: FastAPI, page_of: Callable[[Request, int, str], Response | None]
) -> None:
    """Have every error answered in the envelope, or with the page that there is for people."""

    def answered(
        request: Request, status: int, message: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        return page_of(request, status, message) or problem(status, message, headers)

    def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, VisionflowsError)
        return answered(request, status_of(error), str(error))

    def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = f"{error.detail}".rstrip(".")
        if error.status_code == 404 and said == "Not Found":
            said = "There is nothing at this address; /api/v1/openapi.json lists what there is"
        return answered(request, error.status_code, f"{said}.", error.headers)

    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answered(request, 422, _faults(error))

    def unforeseen(request: Request, error: Exception) -> Response:
        said = error_in_words(error)
        if isinstance(said, VisionflowsError):
            return answered(request, status_of(said), str(said))
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return answered(
            request,
            500,
            "The request failed for a reason that nobody has foreseen; the log has it.",
        )

    application.add_exception_handler(VisionflowsError, known)
    application.add_exception_handler(HTTPException, of_http)
    application.add_exception_handler(RequestValidationError, invalid)
    for kind in _of_libraries():
        application.add_exception_handler(kind, unforeseen)
    application.add_exception_handler(Exception, unforeseen)


def _of_libraries() -> tuple[type[Exception], ...]:
    """Errors that are answered without being raised again for whoever runs the application."""
    import psycopg
    from sqlalchemy.exc import SQLAlchemyError

    return (psycopg.Error, SQLAlchemyError, OSError)


def _faults(error: RequestValidationError) -> str:
    """What is wrong with a request, fault by fault; of many the first ones."""
    found = error.errors()
    told = [
        f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}"
        for one in found[:_MOST_FAULTS]
    ]
    more = len(found) - len(told)
    others = f"; and {more} more" if more else ""
    return f"{'; '.join(told)}{others}. /api/v1/openapi.json says what is taken."
