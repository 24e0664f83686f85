"""Prefect's temporary server, for runs without a server of their own."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from storage.errors import VisionflowsError


def prepare_temporary_server() -> None:
    """Make sure that a temporary server will start, unless Prefect is set to talk to another one.

    The first server of an empty folder makes Prefect's own tables; two that do so at once break
    each other. So the first command starts its server here while others wait; later ones leave it
    to Prefect, which starts a server when a flow first needs one and stops it with the process.

    Raises:
        VisionflowsError: the server did not start.
    """
    from httpx import HTTPError
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_URL, get_current_settings

    if PREFECT_API_URL.value() is not None:
        return
    current = get_current_settings()
    timeout = current.server.ephemeral.startup_timeout_seconds
    ready = current.home / f".ready-{version('prefect')}"
    if ready.exists():
        return
    with _exclusive(current.home / ".starting.lock"):
        if ready.exists():
            return
        try:
            SubprocessASGIServer().start(timeout=timeout)
        except (RuntimeError, HTTPError) as error:
            raise VisionflowsError(
                f"Prefect's temporary server did not start within {timeout} s ({error}); run the "
                "command again, or set PREFECT_API_URL to a running server."
            ) from error
        ready.touch()


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
