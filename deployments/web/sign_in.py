"""The page on which people give the token; a cookie stands for it from then on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from deployments.web.dependencies import SettingsDependency
from deployments.web.pages.rendering.templates import page
from deployments.web.trust import (
    COOKIE,
    COOKIE_SECONDS,
    SIGN_IN,
    is_token,
    make_cookie,
    token_of,
)

router = APIRouter(include_in_schema=False)


@router.get(SIGN_IN)
def show_sign_in(request: Request) -> HTMLResponse:
    """The form."""
    return page(request, "sign_in.html", message="")


@router.post(SIGN_IN)
def sign_in(
    request: Request, settings: SettingsDependency, token: Annotated[str, Form(max_length=4096)]
) -> Response:
    """Take a token; the right one gives the cookie."""
    demanded = token_of(settings)
    if demanded is not None and not is_token(token, demanded):
        return page(request, "sign_in.html", status=401, message="This is not the token.")
    response = RedirectResponse("/", 303)
    if demanded is not None:
        response.set_cookie(
            COOKIE,
            make_cookie(demanded),
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return response


@router.post("/sign-out")
def sign_out() -> Response:
    """Forget the cookie."""
    response = RedirectResponse(SIGN_IN, 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response
