"""Answers with pictures: small ones that are made once, and the files themselves."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from deployments.web.dependencies import SettingsDependency
from deployments.web.errors import problems
from deployments.web.files.pictures import (
    PictureFile,
    image_limits,
    kept_thumbnail,
    thumbnail_in_making,
)
from storage.errors import ImageError, NotFoundError
from storage.files.places import ObjectPath
from storage.settings import Settings

# What browsers show and no browser runs; everything else is given as a file to keep.
SHOWN_INLINE = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "BMP": "image/bmp",
}
# Pictures are the user's files: nothing in them may run, whatever a browser takes them for.
_HARMLESS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_PICTURE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}

_THUMBNAIL_ANSWERS: dict[int | str, dict[str, Any]] = {
    **problems(404),
    304: {"description": "The picture is the one that the client has."},
    200: {"content": {"image/webp": _PICTURE}, "description": "The picture."},
}
_ORIGINAL_ANSWERS: dict[int | str, dict[str, Any]] = {
    **problems(404),
    200: {"content": {"application/octet-stream": _PICTURE}, "description": "The file."},
    206: {"content": {"application/octet-stream": _PICTURE}, "description": "A part of it."},
    400: {"description": "The range cannot be read.", "content": {"text/plain": {}}},
    416: {"description": "There are no such bytes.", "content": {"text/plain": {}}},
}
_KnownContent = Annotated[
    str | None,
    Query(max_length=64, description="The image's sha256: the answer may be kept for ever."),
]
_KnownTag = Annotated[
    str | None, Header(max_length=1000, description="`ETag` of the picture one has.")
]


def add_picture_routes(
    router: APIRouter, path: str, find: Callable[..., PictureFile], name: str = ""
) -> None:
    """Serve the picture that `find`, a dependency of FastAPI, gives: small, and the file itself.

    `name` stands in the names of the two operations.
    """

    async def show_thumbnail(
        settings: SettingsDependency,
        picture: PictureFile = Depends(find),  # noqa: B008 - as FastAPI takes it
        v: _KnownContent = None,
        if_none_match: _KnownTag = None,
    ) -> Response:
        """A picture of 256 pixels on the longer side as WebP, or a drawn one that says why not."""
        return await _answer_thumbnail(settings, picture, v, if_none_match)

    def show_original(
        settings: SettingsDependency,
        picture: PictureFile = Depends(find),  # noqa: B008
    ) -> Response:
        """The file itself; parts of it by `Range`. Browsers show raster pictures only."""
        if picture.member is not None or isinstance(picture.path, ObjectPath):
            return _answer_member(settings, picture)
        return _answer_original(picture)

    router.add_api_route(
        f"{path}/thumbnail",
        show_thumbnail,
        name=f"show_{name}thumbnail",
        response_class=Response,
        responses=_THUMBNAIL_ANSWERS,
    )
    router.add_api_route(
        f"{path}/original",
        show_original,
        name=f"show_{name}original",
        response_class=FileResponse,
        responses=_ORIGINAL_ANSWERS,
    )


async def _answer_thumbnail(
    settings: Settings, picture: PictureFile, v: str | None, if_none_match: str | None
) -> Response:
    """The small picture, or a drawn one that says why there is none."""
    tag = f'"{picture.sha256}"'
    headers = {**_HARMLESS, "ETag": tag, "Cache-Control": "private, no-cache"}
    if v == picture.sha256:
        headers["Cache-Control"] = "private, max-age=31536000, immutable"
    small = await run_in_threadpool(kept_thumbnail, settings, picture.sha256)
    if small is not None and if_none_match is not None and tag in if_none_match:
        return Response(status_code=304, headers=headers)
    if small is None:
        small = await asyncio.wrap_future(thumbnail_in_making(settings, picture))
    if small.reason is not None:
        # The next look may find the file again.
        headers = {**_HARMLESS, "Cache-Control": "no-store", "X-No-Picture": quote(small.reason)}
    return Response(small.content, media_type="image/webp", headers=headers)


def _answer_member(settings: Settings, picture: PictureFile) -> Response:
    """A picture in an archive, or in a bucket.

    Raises:
        NotFoundError: it cannot be read.
    """
    try:
        content = picture.read(image_limits(settings))
    except ImageError as error:
        raise NotFoundError(f"{picture.name}: {error.reason}") from None
    kind = SHOWN_INLINE.get(picture.format or "", "application/octet-stream")
    return Response(content, media_type=kind, headers=_headers_of(picture))


def _headers_of(picture: PictureFile) -> dict[str, str]:
    return {**_HARMLESS, "ETag": f'"{picture.sha256}"', "Cache-Control": "private, no-cache"}


def _answer_original(picture: PictureFile) -> Response:
    """The file of a picture, if it is still the one that was registered.

    Raises:
        NotFoundError: it is gone, or another one.
    """
    try:
        status = picture.path.stat()
    except (OSError, ValueError):
        raise NotFoundError(f"The file of {picture.name} is not there any more.") from None
    is_same = (status.st_size, status.st_mtime_ns) == (picture.file_size, picture.modified_at_ns)
    if not stat.S_ISREG(status.st_mode) or not is_same:
        raise NotFoundError(
            f"The file of {picture.name} is another one since it was registered; run "
            "ingest-project again, or refresh the collection."
        )
    kind = SHOWN_INLINE.get(picture.format or "", "application/octet-stream")
    return FileResponse(
        picture.path,
        media_type=kind,
        filename=picture.path.name,
        content_disposition_type="attachment" if kind.startswith("application") else "inline",
        headers=_headers_of(picture),
    )
