"""Who may ask: the Host header, requests of other sites, the token, and how much is read.

Without a token only this machine is answered, and only under a name of this machine: a page of
another site that has its own name lead here (DNS rebinding) is refused. With one
(VISIONFLOWS_WEB_TOKEN) every request shows it, as a bearer or by the cookie of the sign-in page.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.web.errors import problem
from storage.settings import Settings

COOKIE = "visionflows"
SIGN_IN = "/sign-in"
# Style and scripts, which the sign-in page needs and which hold nothing of anybody.
STATIC = "/static/"
COOKIE_SECONDS = 30 * 24 * 3600
SMALL_BODY = 1 << 20
# Where larger bodies are taken, and how large; of others at most SMALL_BODY is read.
BODY_LIMITS: dict[re.Pattern[str], Callable[[Settings], int]] = {}

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE = frozenset({"same-origin", "none"})


class Trust:
    """The middleware before everything else."""

    def __init__(self, application: ASGIApp, settings: Settings) -> None:
        self._application = application
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no web sockets here

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refuse(scope)
        if refusal is not None:
            await refusal(scope, receive, send_safely)
            return
        limited = _limited(receive, body_limit(scope["path"], self._settings))
        await self._application(scope, limited, send_safely)

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        token = token_of(self._settings)
        host = headers.get("host", "")
        if token is None and _name(host) not in _LOOPBACK:
            return problem(
                403,
                f"The request names the host {host!r}; without VISIONFLOWS_WEB_TOKEN only "
                "localhost and 127.0.0.1 are answered.",
            )
        if scope["method"] not in _READING and not _is_of_own_site(headers, host):
            return problem(403, "Another site may not change anything here.")
        length = headers.get("content-length", "0")
        limit = body_limit(scope["path"], self._settings)
        if not length.isdecimal() or int(length) > limit:
            return problem(413, _too_large(limit))
        is_open = scope["path"] == SIGN_IN or scope["path"].startswith(STATIC)
        if token is None or is_open or _shows(headers, token):
            return None
        if "text/html" in headers.get("accept", "") and scope["method"] in _READING:
            return RedirectResponse(SIGN_IN, 303)
        return problem(
            401,
            "Send the token as `Authorization: Bearer ...`, or sign in at /sign-in.",
            {"WWW-Authenticate": "Bearer"},
        )


def token_of(settings: Settings) -> str | None:
    """The token that is demanded; None where none is."""
    return None if settings.web_token is None else settings.web_token.get_secret_value()


def is_token(shown: str, token: str) -> bool:
    """Whether a token is the right one, in a time that tells nothing of it."""
    return hmac.compare_digest(
        hashlib.sha256(shown.encode()).digest(), hashlib.sha256(token.encode()).digest()
    )


def make_cookie(token: str, now: float | None = None) -> str:
    """The value of a cookie that stands for the token; it ends after 30 days."""
    expires = int(now if now is not None else time.time()) + COOKIE_SECONDS
    return f"{expires}.{_signature(token, expires)}"


def is_cookie(value: str, token: str) -> bool:
    """Whether a cookie was made for the token and has not ended."""
    expires, _, signature = value.partition(".")
    if not (expires.isascii() and expires.isdecimal() and len(expires) < 15):
        return False
    return is_token(signature, _signature(token, int(expires))) and int(expires) > time.time()


def body_limit(path: str, settings: Settings) -> int:
    """How many bytes of a request to a path are read at most."""
    for pattern, limit in BODY_LIMITS.items():
        if pattern.fullmatch(path):
            return limit(settings)
    return SMALL_BODY


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address to listen on."""
    return host in _LOOPBACK


def _signature(token: str, expires: int) -> str:
    return hmac.new(token.encode(), f"session {expires}".encode(), "sha256").hexdigest()


def _name(host: str) -> str:
    """The name of a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_of_own_site(headers: Headers, host: str) -> bool:
    """Whether no other site has made a browser send this; programs send neither header."""
    if headers.get("sec-fetch-site", "same-origin") not in _OWN_SITE:
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    except ValueError:
        return False


def _shows(headers: Headers, token: str) -> bool:
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return is_token(shown.strip(), token)
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return False
    return cookie is not None and is_cookie(cookie.value, token)


def _limited(receive: Receive, limit: int) -> Receive:
    """Receive no more bytes than allowed, whatever the request has said of its length."""
    received = 0

    async def receive_some() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return receive_some


def _too_large(limit: int) -> str:
    return f"The request must say its length rightly, and be no larger than {limit:,} bytes here."
