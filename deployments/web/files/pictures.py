"""Small pictures of images: made once, kept by content, by at most two processes."""

from __future__ import annotations

import base64
import hashlib
import stat
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from storage.errors import ImageError
from storage.files import atomic_file
from storage.files.places import place_of
from storage.inference.collections import CollectionFile
from storage.projects.image_details import ImageDetails
from storage.settings import Settings
from tasks.images.files import ImageLimits, read_image_file
from tasks.images.thumbnails import draw_placeholder
from tasks.labels.limit_steps import dataset_limits
from tasks.quality.pixels.isolated import IsolatedWorkers
from tasks.releases.dataset.problem_pictures import MemberPicture, read_picture
from tasks.sessions.folders.finding import is_image_name

_MOST_AT_ONCE = 2
_makers = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="thumbnails")
_lock = threading.Lock()
_being_made: dict[str, Future[Thumbnail]] = {}


@dataclass(frozen=True)
class Thumbnail:
    """A small picture as WebP; one in the place of an unreadable image has the reason."""

    content: bytes
    reason: str | None = None


@dataclass(frozen=True)
class PictureFile:
    """A registered picture: where it lies, and how the file was when it was registered.

    Attributes:
        name: how people know it.
        format: Pillow's name of its format; None where that is not known.
        member: its number in the archive that `path` is; None for a file.
    """

    name: str
    path: Path
    sha256: str
    file_size: int
    modified_at_ns: int
    format: str | None
    member: int | None = None

    def read(self, limits: ImageLimits) -> bytes:
        """Its bytes.

        Raises:
            ImageError: it is gone, another one, too large, or cannot be read.
        """
        if self.member is not None:
            return read_picture(self.path, self.member, self.sha256, dataset_limits(), limits)
        return read_image_file(self.path, limits, expected=(self.file_size, self.modified_at_ns))


def picture_of_image(details: ImageDetails) -> PictureFile:
    """The picture of an image of a project."""
    row = details.image
    return PictureFile(
        row.relative_path, details.path, row.sha256, row.file_size, row.modified_at_ns, row.format
    )


def picture_of_content(found: CollectionFile) -> PictureFile:
    """The picture of a content, where its collection has found it."""
    file = found.file
    return PictureFile(
        found.name, place_of(found.path), file.sha256, file.size, file.modified_at_ns, file.format
    )


def picture_in_archive(archive: Path, picture: MemberPicture) -> PictureFile:
    """The picture that is a member of an archive."""
    return PictureFile(
        picture.name, archive, picture.key, 0, 0, picture.format, member=picture.number
    )


def picture_in_session(folder: Path, name: str) -> PictureFile | None:
    """A picture in the folder of a session, which has no row: the file says what it is.

    None for what is not a plain image file of this folder.
    """
    path = folder / name
    if path.parent != folder or not is_image_name(name):
        return None
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    state = f"{path}\0{status.st_size}\0{status.st_mtime_ns}"
    return PictureFile(
        name,
        path,
        hashlib.sha256(state.encode("utf-8", "surrogateescape")).hexdigest(),
        status.st_size,
        status.st_mtime_ns,
        _SESSION_FORMATS[path.suffix.lower()],
    )


_SESSION_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def image_limits(settings: Settings) -> ImageLimits:
    """How large a picture may be."""
    return ImageLimits(settings.max_image_pixels, settings.max_image_bytes)


def kept_thumbnail(settings: Settings, sha256: str) -> Thumbnail | None:
    """The small picture of a content, if it was made before."""
    try:
        return Thumbnail(_place(settings, sha256).read_bytes())
    except FileNotFoundError:
        return None


def thumbnail_in_making(settings: Settings, picture: PictureFile) -> Future[Thumbnail]:
    """The small picture of an image; who asks for one that is being made gets the same."""
    sha256 = picture.sha256
    with _lock:
        made = _being_made.get(sha256)
        if made is None:
            made = _makers.submit(_make, settings, picture)
            _being_made[sha256] = made
            made.add_done_callback(lambda _: _being_made.pop(sha256, None))
    return made


@contextmanager
def _as_file(picture: PictureFile, limits: ImageLimits) -> Iterator[tuple[Path, tuple[int, int]]]:
    """A file with the picture, its size and its time: of a member of an archive, a copy."""
    if picture.member is None:
        yield picture.path, (picture.file_size, picture.modified_at_ns)
        return
    with tempfile.NamedTemporaryFile(prefix="visionflows-member-") as copy:
        copy.write(picture.read(limits))
        copy.flush()
        status = Path(copy.name).stat()
        yield Path(copy.name), (status.st_size, status.st_mtime_ns)


def _make(settings: Settings, picture: PictureFile) -> Thumbnail:
    limits = image_limits(settings)
    try:
        with _as_file(picture, limits) as (path, expected):
            made = _decoders(settings.max_image_seconds).ask(path, limits, expected=expected)
    except ImageError as error:
        return Thumbnail(draw_placeholder(error.reason), error.reason)
    small = base64.b64decode(made["webp"])
    with atomic_file(_place(settings, picture.sha256), durable=False) as temporary:
        temporary.write_bytes(small)
    return Thumbnail(small)


@cache
def _decoders(time_limit_s: float) -> IsolatedWorkers:
    """Processes that decode: a picture that ends one, or eats memory, is not the end of ours."""
    return IsolatedWorkers("tasks.images.thumbnails:thumbnail_as_json", _MOST_AT_ONCE, time_limit_s)


def _place(settings: Settings, sha256: str) -> Path:
    return settings.thumbnails_folder / sha256[:2] / f"{sha256}.webp"
