"""Routes of pages: what a form leaves empty is not asked for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute


class PageRoute(APIRoute):
    """A route that does not see empty values of a query: forms send all their fields."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler behind that."""
        handle = super().get_route_handler()

        async def handle_filled(request: Request) -> Response:
            query = request.scope["query_string"]
            filled = urlencode(parse_qsl(query.decode("latin-1"))).encode()
            return await handle(Request({**request.scope, "query_string": filled}, request.receive))

        return handle_filled


def page_router(prefix: str = "") -> APIRouter:
    """A router of pages, which the description of the HTTP API leaves out."""
    return APIRouter(prefix=prefix, include_in_schema=False, route_class=PageRoute)
