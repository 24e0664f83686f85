"""Prefect's temporary server, for runs without a server of their own."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from storage.errors import VisionflowsError


@contextmanager
def temporary_server() -> Iterator[None]:
    """Start Prefect's temporary server now, unless Prefect is set to talk to another one.

    The first server of an empty folder makes Prefect's own tables; two that do so at once break
    each other. So first starts take turns.

    Raises:
        VisionflowsError: it did not start.
    """
    from httpx import HTTPError
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_URL, get_current_settings

    if PREFECT_API_URL.value() is not None:
        yield
        return
    current = get_current_settings()
    timeout = current.server.ephemeral.startup_timeout_seconds
    ready = current.home / f".ready-{version('prefect')}"
    if ready.exists():
        yield
        return
    with _exclusive(current.home / ".starting.lock"):
        try:
            SubprocessASGIServer().start(timeout=timeout)
        except (RuntimeError, HTTPError) as error:
            raise VisionflowsError(
                f"Prefect's temporary server did not start within {timeout} s ({error}); run the "
                "command again, or set PREFECT_API_URL to a running server."
            ) from error
        ready.touch()
    yield


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
