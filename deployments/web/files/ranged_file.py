"""Files over HTTP, whole or a range of their bytes, so that a broken download goes on."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from deployments.web.errors import problem
from storage.errors import NotFoundError

_ONE_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))", re.ASCII)


class RangedFile(FileResponse):
    """A file to be kept, under a name; of a range that it does not understand all is sent."""

    def __init__(self, path: Path, *, media_type: str, filename: str) -> None:
        """Look at the file.

        Raises:
            NotFoundError: it is gone.
        """
        try:
            found = path.stat()
        except OSError:
            raise NotFoundError(f"The file {path} is gone, or cannot be read.") from None
        super().__init__(path, media_type=media_type, filename=filename, stat_result=found)
        self._size = found.st_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or what is asked of it."""
        wanted = Headers(scope=scope).get("range")
        if wanted is not None:
            matched = _ONE_RANGE.fullmatch(wanted.replace(" ", ""))
            if matched is None or not _is_in_order(matched):
                others = [one for one in scope["headers"] if one[0].lower() != b"range"]
                scope = {**scope, "headers": others}
            elif not self._has(matched):
                refused = problem(
                    416,
                    f"The file has {self._size:,} bytes; ask for a range of these.",
                    {"Content-Range": f"bytes */{self._size}"},
                )
                await refused(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def _has(self, matched: re.Match[str]) -> bool:
        """Whether at least one byte of the range is there."""
        last_bytes = matched[3]
        if last_bytes is not None:
            return self._size > 0 and int(last_bytes) > 0
        return int(matched[1]) < self._size


def _is_in_order(matched: re.Match[str]) -> bool:
    return not (matched[1] and matched[2]) or int(matched[1]) <= int(matched[2])
