"""Writing a release: the same members give the same bytes, whenever and wherever it is written."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from storage.errors import InvalidInputError, NotFoundError
from storage.records import ListedImage
from tasks.releases.making.members import ReleaseMember

# The earliest time that a ZIP can hold.
_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_MODE = 0o100644 << 16
_LEVEL = 6
_BLOCK = 1 << 20


def write_archive(
    path: Path,
    members: Sequence[ReleaseMember],
    images: Path,
    *,
    progress: Callable[[int], None] = lambda images_written: None,
) -> None:
    """Write the members in their order: images stored as they are, texts deflated.

    Every image is hashed while it is copied from the folder `images`, so that what goes in is what
    was registered. `progress` gets the number of images written; what it raises ends it.

    Raises:
        NotFoundError: an image is gone.
        InvalidInputError: an image has changed since it was registered.
    """
    written = 0
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for member in members:
            info = zipfile.ZipInfo(member.name, _TIME)
            info.create_system = _UNIX
            info.external_attr = _MODE
            if member.content is not None:
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, member.content, compresslevel=_LEVEL)
            elif member.image is not None:
                _copy(archive, info, member.image, images)
                written += 1
                progress(written)


def _copy(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, image: ListedImage, folder: Path
) -> None:
    info.compress_type = zipfile.ZIP_STORED
    # The writer chooses from it between the short and the long form of sizes.
    info.file_size = image.file_size
    digest = hashlib.sha256()
    size = 0
    path = folder / image.relative_path
    try:
        source = path.open("rb")
    except FileNotFoundError:
        raise NotFoundError(
            f"{path} is gone; `visionflows projects add` looks at the folder again."
        ) from None
    with source, archive.open(info, "w") as member:
        while block := source.read(_BLOCK):
            size += len(block)
            if size > image.file_size:
                break
            digest.update(block)
            member.write(block)
    if size != image.file_size or digest.hexdigest() != image.sha256:
        raise InvalidInputError(
            f"{path} has changed since it was registered; `visionflows projects add` looks at the "
            "folder again."
        )
