"""`visionflows web`: the pages and the HTTP API; `visionflows report`: a page to send."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.output.terminal import print_plain
from deployments.quick_imports import quick_imports
from deployments.server.environment import prepare_prefect_environment
from deployments.server.processes import HOST
from storage.database.connection import open_database
from storage.errors import ConfigurationError
from storage.files import write_files
from storage.settings import get_settings
from tasks.reports.report import SentNoun

_SHUTDOWN_SECONDS = 5
_BACKLOG = 2048


def web(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = HOST,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; default: VISIONFLOWS_WEB_PORT.")
    ] = None,
) -> None:
    """Run the HTTP API for front ends, until Ctrl-C.

    `visionflows up` has one of its own. On another address than 127.0.0.1 it demands a token,
    VISIONFLOWS_WEB_TOKEN. Jobs are started on the Prefect server at PREFECT_API_URL, or on the
    local stack.

    For example:

      visionflows web --port 4201
    """
    settings = get_settings()
    with quick_imports():
        import uvicorn

        from deployments.web.trust import is_loopback, token_of
    if not is_loopback(host) and token_of(settings) is None:
        raise ConfigurationError(
            f"On {host} others reach the API: set VISIONFLOWS_WEB_TOKEN to a secret of 16 "
            "characters or more, or leave --host out."
        )
    prepare_prefect_environment(settings, log_level="WARNING", use_stack=False)
    with quick_imports():
        from deployments.web.application import create_application
        from deployments.web.files.receiving import SmallPieces

    open_database(settings)
    listener = _listen(host, port or settings.web_port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}"
    print_plain(f"Pages: {address}, the HTTP API: {address}/api/v1. Ctrl-C ends it.")
    server = uvicorn.Server(
        uvicorn.Config(
            create_application(settings),
            http=SmallPieces,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
    )
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"Nobody can listen on port {port} of {host} ({error.strerror or error}); name another "
            "--port."
        ) from error


def report(
    noun: Annotated[SentNoun, typer.Argument(help="What is to be sent.")],
    key: Annotated[str, typer.Argument(metavar="NAME", help="Its name or id.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; default: NOUN-NAME.html.")
    ] = None,
) -> None:
    """Write a project, release, session or run as one HTML file to send.

    Its pictures are inside, small, at most 200; it says how many there are. A few megabytes, and
    nothing is fetched from elsewhere.

    For example:

      visionflows report run 4ace --output bay.html
    """
    with quick_imports():
        from deployments.web.files.sent_reports import report_to_send

    settings = get_settings()
    content = report_to_send(open_database(settings), settings, noun, key)
    plain = "".join(one if one.isalnum() or one in "-_." else "-" for one in key)
    path = output or Path(f"{noun.value}-{plain}.html")
    write_files(path.absolute().parent, {path.name: content.encode("utf-8", "replace")})
    print_plain(str(path))
