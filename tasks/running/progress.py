"""A progress artifact in Prefect."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

_log = logging.getLogger(__name__)
_UPDATE_SECONDS = 2.0


class ProgressArtifact:
    """A progress artifact, made when it is first shown and brought up to date every two seconds.

    The window must not break the work behind it: what goes wrong here is logged only.
    """

    def __init__(self, key: str, *, first_after_seconds: float = 0.0) -> None:
        self._key = key
        self._next_update = time.monotonic() + first_after_seconds
        self._id: UUID | None = None

    @property
    def is_shown(self) -> bool:
        """Whether there is an artifact by now."""
        return self._id is not None

    def show(self, look: Callable[[], tuple[float, str]], *, at_once: bool = False) -> None:
        """Show the percentage and the text that `look` gives, unless it was shown just before."""
        if not at_once and time.monotonic() < self._next_update:
            return
        self._next_update = time.monotonic() + _UPDATE_SECONDS
        try:
            percent, text = look()
            if self._id is None:
                made = create_progress_artifact(percent, key=self._key, description=text)
                self._id = cast(UUID, made)  # a coroutine only inside of async code
            else:
                update_progress_artifact(self._id, percent, description=text)
        except Exception as error:
            _log.warning("Progress %s could not be shown: %s", self._key, error)
