"""Taking the bytes of a staged upload: names and contents are looked at here."""

from __future__ import annotations

import shutil
from typing import BinaryIO
from uuid import UUID

from storage.database.connection import Database
from storage.errors import InvalidInputError
from storage.projects.uploads import (
    UploadFileRecord,
    add_upload_file,
    complete_upload_file,
    remove_upload_file,
)
from storage.settings import Settings
from tasks.projects.sources.upload import UploadKind, check_upload_content, check_upload_name


def announce(
    database: Database, settings: Settings, upload_id: UUID, name: str, size: int
) -> UploadFileRecord:
    """A new file of an upload, of which nothing has arrived.

    Raises:
        InvalidInputError: the name cannot be used; and as `add_upload_file`.
    """
    is_archive = check_upload_name(name) is UploadKind.ARCHIVE
    return add_upload_file(
        database, upload_id, name, size, is_archive=is_archive, settings=settings
    )


def complete(database: Database, file: UploadFileRecord) -> None:
    """Look at a file that has arrived whole; one that is not what it says is thrown away.

    Raises:
        InvalidInputError: it is not what its name says.
    """
    if file.kind is not None or file.received != file.size:
        return
    try:
        kind = check_upload_content(file.path, file.name)
    except InvalidInputError:
        remove_upload_file(database, file)
        raise
    complete_upload_file(database, file, kind)


def stage(
    database: Database,
    settings: Settings,
    upload_id: UUID,
    name: str,
    size: int,
    content: BinaryIO,
) -> UploadFileRecord:
    """A whole file of an upload; errors as those of `announce` and `complete`."""
    file = announce(database, settings, upload_id, name, size)
    with file.path.open("wb") as staged:
        shutil.copyfileobj(content, staged)
    complete(database, file)
    return file
