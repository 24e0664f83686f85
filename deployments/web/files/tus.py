"""The part of the tus protocol 1.0.0 that uploads need: creation, PATCH, HEAD, termination.

The library for it, tuspyserver 4.4, keeps the offset in a second file that is written when a PATCH
ends, and appends: killed in between, it tells the old offset and appends what it has already, so
that the file is another one. Here the size of the file is the offset.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from deployments.web.files.receiving import PIECE_BYTES
from storage.errors import InvalidInputError
from storage.files import file_lock
from storage.projects.uploads import UploadFileRecord
from storage.settings import Settings

VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,termination"
CONTENT_TYPE = "application/offset+octet-stream"
_WRITTEN_TOGETHER = PIECE_BYTES
# Whoever sends nothing for so long has gone: the file is free for another connection.
_SILENCE_SECONDS = 60.0


def protocol_headers(settings: Settings, expires_at: datetime | None = None) -> dict[str, str]:
    """What every answer about an upload says."""
    headers = {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(settings.max_upload_bytes),
        "Cache-Control": "no-store",
    }
    if expires_at is not None:
        headers["Upload-Expires"] = format_datetime(expires_at.astimezone(UTC), usegmt=True)
    return headers


def require_version(version: str | None) -> None:
    """See that a client speaks this version.

    Raises:
        HTTPException: 412; it does not.
    """
    if version != VERSION:
        raise HTTPException(
            412, f"Send the header Tus-Resumable: {VERSION}", {"Tus-Version": VERSION}
        )


def read_metadata(header: str | None) -> Mapping[str, str]:
    """The values of `Upload-Metadata`: names, each with a value in base64.

    Raises:
        InvalidInputError: it cannot be read.
    """
    found: dict[str, str] = {}
    for pair in (header or "").split(","):
        name, _, value = pair.strip().partition(" ")
        try:
            if name:
                found[name] = base64.b64decode(value, validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            raise InvalidInputError(
                f"Upload-Metadata has no UTF-8 text in base64 for {name[:50]!r}."
            ) from None
    return found


async def append(file: UploadFileRecord, offset: int, request: Request) -> int:
    """Write the body of a request behind what has arrived; how much has arrived then.

    A connection that breaks keeps what it has brought.

    Raises:
        HTTPException: 409 for another offset than is there, 423 while another request writes, 413
            for more than was announced, 408 when nothing comes any more.
    """
    try:
        with file_lock(file.path, wait=False) as descriptor:
            received = os.fstat(descriptor).st_size
            if offset != received:
                raise HTTPException(
                    409,
                    f"{received} bytes have arrived; go on there",
                    {"Upload-Offset": str(received)},
                )
            try:
                async for block in _blocks(request):
                    if received + len(block) > file.size:
                        raise HTTPException(413, f"Only {file.size} bytes were announced")
                    await run_in_threadpool(_write, descriptor, block, received)
                    received += len(block)
            except ClientDisconnect:
                pass
            finally:
                await run_in_threadpool(os.fsync, descriptor)
            return received
    except BlockingIOError:
        raise HTTPException(423, "Another request is writing this file; try again") from None


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    """The body in blocks of some size, so that memory does not grow with what is sent."""
    stream = request.stream()
    held, size = [], 0
    try:
        while True:
            try:
                part = await asyncio.wait_for(anext(stream), _SILENCE_SECONDS)
            except StopAsyncIteration:
                break
            except TimeoutError:
                raise HTTPException(
                    408, f"Nothing has come for {_SILENCE_SECONDS:.0f} seconds; go on later"
                ) from None
            held.append(part)
            size += len(part)
            if size >= _WRITTEN_TOGETHER:
                yield b"".join(held)
                held, size = [], 0
    except ClientDisconnect:
        if held:
            yield b"".join(held)
        raise
    if held:
        yield b"".join(held)


def _write(descriptor: int, block: bytes, place: int) -> None:
    rest = memoryview(block)
    while rest:
        written = os.pwrite(descriptor, rest, place)
        rest, place = rest[written:], place + written
