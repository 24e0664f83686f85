"""Style and scripts: read once, sent compressed, kept by browsers as long as they are the same."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from storage.errors import NotFoundError

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parents[1] / "static"
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class StaticFile:
    """A file as it is sent; `digest` stands in its address."""

    content: bytes
    compressed: bytes
    media_type: str
    digest: str


@cache
def static_files() -> dict[str, StaticFile]:
    """All files that browsers may ask for, by their path below `static/`."""
    found = {}
    for path in sorted(_FOLDER.rglob("*")):
        media_type = _MEDIA_TYPES.get(path.suffix)
        if media_type is None or not path.is_file():
            continue
        content = path.read_bytes()
        found[path.relative_to(_FOLDER).as_posix()] = StaticFile(
            content,
            gzip.compress(content, mtime=0),
            media_type,
            hashlib.sha256(content).hexdigest()[:16],
        )
    return found


def static_address(name: str) -> str:
    """The address of a file, which changes with its content."""
    return f"/static/{name}?v={static_files()[name].digest}"


@router.get("/static/{name:path}")
def send_static_file(request: Request, name: str, v: str = "") -> Response:
    """Send a file; under the address of this content it may be kept for ever."""
    file = static_files().get(name)
    if file is None:
        raise NotFoundError(f"There is no file /static/{name}.")
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if v == file.digest else "no-cache",
        "ETag": f'"{file.digest}"',
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(file.compressed, media_type=file.media_type, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
