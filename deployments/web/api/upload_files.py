"""The files of staged uploads, sent and resumed by the tus protocol."""

from __future__ import annotations

import re
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from deployments.web.dependencies import DatabaseDependency, SettingsDependency
from deployments.web.envelope import Problem
from deployments.web.errors import problems
from deployments.web.files import tus
from deployments.web.files.staging import announce, complete
from deployments.web.trust import BODY_LIMITS
from storage.errors import InvalidInputError
from storage.projects.uploads import (
    find_upload,
    find_upload_file,
    remove_upload_file,
    touch_upload,
)

router = APIRouter(prefix="/uploads/{upload_id}/files", tags=["uploads"])

UploadId = Annotated[UUID, Path(description="Id of the upload.")]
FileId = Annotated[UUID, Path(description="Id of the file in it.")]

BODY_LIMITS[re.compile(r"/api/v1/uploads/[^/]+/files/[^/]+")] = lambda own: own.max_upload_bytes

TusVersion = Annotated[
    str | None, Header(alias="Tus-Resumable", description="1.0.0, the version of the protocol.")
]


def _tus_problems(**meanings: str) -> dict[int | str, dict[str, Any]]:
    """For `responses=`: statuses of the protocol, named s409 and so on, with what they mean."""
    return {
        int(name[1:]): {"model": Problem, "description": said} for name, said in meanings.items()
    }


_VERSION = _tus_problems(s412="The client speaks another version of the protocol.")


@router.options("", status_code=204, response_class=Response)
def tus_options(settings: SettingsDependency, upload_id: UploadId) -> Response:
    """Say what of the tus protocol is spoken here."""
    return Response(status_code=204, headers=tus.protocol_headers(settings))


@router.post(
    "",
    status_code=201,
    response_class=Response,
    responses={**problems(404, 409), **_VERSION},
)
def tus_create(
    database: DatabaseDependency,
    settings: SettingsDependency,
    upload_id: UploadId,
    length: Annotated[
        int, Header(alias="Upload-Length", ge=1, lt=1 << 62, description="Bytes of the file.")
    ],
    metadata: Annotated[
        str,
        Header(
            alias="Upload-Metadata",
            max_length=8000,
            description="`filename` and its value in base64: the path of the file in the project.",
        ),
    ],
    version: TusVersion = None,
) -> Response:
    """Announce a file (tus creation). `Location` is where its bytes are sent to by PATCH."""
    tus.require_version(version)
    values = tus.read_metadata(metadata)
    name = values.get("relativePath") or values.get("filename") or values.get("name")
    if name is None or name == "null":
        raise InvalidInputError("Upload-Metadata has no filename.")
    file = announce(database, settings, upload_id, name, length)
    headers = tus.protocol_headers(settings, find_upload(database, upload_id).expires_at)
    headers["Location"] = f"/api/v1/uploads/{upload_id}/files/{file.id}"
    return Response(status_code=201, headers=headers)


@router.head(
    "/{file_id}",
    response_class=Response,
    responses={**problems(404), **_VERSION},
)
def tus_look(
    database: DatabaseDependency,
    settings: SettingsDependency,
    upload_id: UploadId,
    file_id: FileId,
    version: TusVersion = None,
) -> Response:
    """Say how much of a file has arrived, as `Upload-Offset`."""
    tus.require_version(version)
    file = find_upload_file(database, upload_id, file_id)
    headers = tus.protocol_headers(settings, find_upload(database, upload_id).expires_at)
    headers |= {"Upload-Offset": str(file.received), "Upload-Length": str(file.size)}
    return Response(status_code=200, headers=headers)


@router.patch(
    "/{file_id}",
    status_code=204,
    response_class=Response,
    responses={
        **problems(404, 413),
        **_VERSION,
        **_tus_problems(
            s408="Nothing was sent any more; what has arrived stays.",
            s409="The file has another offset, which `Upload-Offset` says.",
            s415="The body is of another type, or the content is not what the name says.",
            s423="Another request is writing the file.",
        ),
    },
    openapi_extra={
        "requestBody": {
            "content": {tus.CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}}
        }
    },
)
async def tus_send(
    database: DatabaseDependency,
    settings: SettingsDependency,
    request: Request,
    upload_id: UploadId,
    file_id: FileId,
    offset: Annotated[
        int, Header(alias="Upload-Offset", ge=0, lt=1 << 62, description="What has arrived.")
    ],
    content_type: Annotated[
        str | None, Header(alias="Content-Type", description="application/offset+octet-stream")
    ] = None,
    version: TusVersion = None,
) -> Response:
    """Send bytes of a file, from the offset that HEAD tells; a broken connection keeps them."""
    tus.require_version(version)
    if content_type != tus.CONTENT_TYPE:
        raise HTTPException(415, f"Send the bytes as {tus.CONTENT_TYPE}")
    file = await run_in_threadpool(find_upload_file, database, upload_id, file_id)
    await run_in_threadpool(touch_upload, database, upload_id)
    received = await tus.append(file, offset, request)
    if received == file.size:
        try:
            await run_in_threadpool(complete, database, file)
        except InvalidInputError as error:
            raise HTTPException(415, str(error)) from error
    upload = await run_in_threadpool(find_upload, database, upload_id)
    headers = tus.protocol_headers(settings, upload.expires_at)
    headers["Upload-Offset"] = str(received)
    return Response(status_code=204, headers=headers)


@router.delete(
    "/{file_id}",
    status_code=204,
    response_class=Response,
    responses={**problems(404, 409), **_VERSION},
)
def tus_remove(
    database: DatabaseDependency,
    settings: SettingsDependency,
    upload_id: UploadId,
    file_id: FileId,
    version: TusVersion = None,
) -> Response:
    """Take a file out of an upload (tus termination)."""
    tus.require_version(version)
    remove_upload_file(database, find_upload_file(database, upload_id, file_id))
    return Response(status_code=204, headers=tus.protocol_headers(settings))
