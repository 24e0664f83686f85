"""Paths of objects in buckets: `s3://`, `gs://` and `az://`, by the library obstore.

Who may read them, and where the store is, stand in the standard environment variables alone.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING, Any, cast

from storage.errors import (
    ConfigurationError,
    MissingObjectError,
    NotFoundError,
    PlaceUnavailableError,
)

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta
    from obstore.store import ObjectStore

# A path of one slash is what the library's `Path` makes of a URL.
_URL = re.compile(r"(s3|gs|az):/+([^/]+)(?:/|$)")
_SETTINGS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION and "
    "AWS_ENDPOINT_URL",
    "gs": "GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_VARIABLES = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
_MOST_TRIES = 6
_TRYING = timedelta(seconds=30)
# Stores say these with the status of a bad request.
_BAD_CREDENTIALS = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired")
_PER_MILLISECOND = 1_000_000
# With an object that was a file: stores tell when it was written, and not how old the file was.
_FILE_TIME = "visionflows-modified-at-ns"
_DELETED_TOGETHER = 1000


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What a store tells of an object without reading it; `etag` changes with the content."""

    size: int
    modified_at: datetime
    etag: str

    @property
    def modified_at_ns(self) -> int:
        """Nanoseconds since the epoch, of which those below a millisecond stand for the ETag.

        Stores tell no finer time, so whoever compares size and time compares ETags as well.
        """
        milliseconds = round(self.modified_at.timestamp() * 1000)
        return milliseconds * _PER_MILLISECOND + zlib.crc32(self.etag.encode()) % _PER_MILLISECOND


class ObjectPath(PosixPath):
    """An object in a bucket, or all whose names begin with it and a slash; `str` is its URL.

    Every access is a request, tried again with growing pauses for half a minute. All methods raise
    NotFoundError where there is no such object or bucket, ConfigurationError where credentials are
    missing or refused, and PlaceUnavailableError where the store does not answer.
    """

    def __str__(self) -> str:
        scheme, colon, rest = super().__str__().partition(":/")
        return f"{scheme}://{rest}" if colon else scheme  # without one it is a part of a URL

    def resolve(self, strict: bool = False) -> ObjectPath:
        """A URL leads nowhere else."""
        return self

    def absolute(self) -> ObjectPath:
        """A URL is absolute."""
        return self

    @property
    def key(self) -> str:
        """The name in the bucket."""
        return "/".join(self.parts[2:])

    def facts(self) -> ObjectFacts:
        """Look at the object."""
        import obstore

        with self._failures():
            return _facts(obstore.head(self._store(), self.key))

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size and time as of a file: of what was one, the time that the file had."""
        import obstore

        with self._failures():
            return _status(obstore.get(self._store(), self.key, options={"head": True}))

    def lstat(self) -> os.stat_result:
        """The same: there are no links in buckets."""
        return self.stat()

    def exists(self) -> bool:
        """Whether there is such an object, or one below it."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Whether there is such an object."""
        if not self.key:
            return False
        try:
            self.facts()
        except NotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether there are objects whose names begin with this one and a slash."""
        return next(self.objects(), None) is not None

    def is_symlink(self) -> bool:
        """There are no links in buckets."""
        return False

    def iterdir(self) -> Generator[ObjectPath, None, None]:
        """What lies right below, objects and folders."""
        folders, names = self._level()
        yield from (self / name for name in sorted({*folders, *names}))

    def glob(self, pattern: str) -> Iterator[ObjectPath]:  # type: ignore[override]
        """What lies below under names that match, level by level; `**` is not known."""
        first, is_deeper, rest = pattern.partition("/")
        folders, names = self._level()
        for name in sorted(folders if is_deeper else {*folders, *names}):
            if fnmatchcase(name, first):
                yield from (self / name).glob(rest) if rest else (self / name,)

    def _level(self) -> tuple[set[str], set[str]]:
        """The names of the folders and of the objects right below."""
        import obstore

        with self._failures():
            start = f"{self.key}/" if self.key else ""
            found = obstore.list_with_delimiter(self._store(), start or None)
            folders = {path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"]}
            return folders, {one["path"].rpartition("/")[2] for one in found["objects"]}

    def objects(self) -> Iterator[tuple[str, ObjectFacts]]:
        """The objects below, as the store lists them: the rest of the name, and its facts."""
        import obstore

        with self._failures():
            start = f"{self.key}/" if self.key else ""
            for page in obstore.list(self._store(), start or None, chunk_size=1000):
                for found in page:
                    name = found["path"].removeprefix(start)
                    if name and found["path"].startswith(start):
                        yield name, _facts(found)

    def read_ranges(self, starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """Read several ranges of bytes at the same time, each with one request."""
        import obstore

        with self._failures():
            parts = obstore.get_ranges(
                self._store(), self.key, starts=starts, ends=ends, coalesce=0
            )
            return [part.to_bytes() for part in parts]

    def read_bytes(self) -> bytes:
        """Read the object whole."""
        import obstore

        with self._failures():
            return obstore.get(self._store(), self.key).bytes().to_bytes()

    def read_with_status(self, largest: int | None = None) -> tuple[bytes | None, os.stat_result]:
        """Read the object whole, with what `stat` tells of it; no bytes where it is larger."""
        import obstore

        with self._failures():
            found = obstore.get(self._store(), self.key)
            status = _status(found)
            if largest is not None and status.st_size > largest:
                return None, status
            return found.bytes().to_bytes(), status

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """Read the object whole, as text."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def open(self, mode: str = "r", *_rest: Any, **_options: Any) -> Any:  # noqa: ANN401 - a file
        """Open it for reading by ranges; objects are written whole (`storage.files`).

        Raises:
            OSError: it was to be opened in another mode than "rb".
        """
        if mode != "rb":
            raise io.UnsupportedOperation(f"{self} is in a bucket: it is written whole.")
        return io.BufferedReader(_ObjectFile(self, self.stat().st_size), 1 << 20)

    def blocks(self, etag: str) -> Iterator[bytes]:
        """Read the object in blocks of about a megabyte, as long as it is the one of this ETag."""
        import obstore

        with self._failures():
            found = obstore.get(self._store(), self.key, options={"if_match": etag})
            for block in found.stream(min_chunk_size=1 << 20):
                yield bytes(block)

    def write_bytes(self, data: Any) -> int:  # noqa: ANN401 - any buffer
        """Write the object whole: it is there with all its bytes, or not at all."""
        import obstore

        with self._failures():
            content = bytes(data)
            obstore.put(self._store(), self.key, content)
        return len(content)

    def take_file(self, file: Path) -> None:
        """Write the content of a file of this machine, and remember the file's time."""
        import obstore

        with self._failures():
            attributes = {_FILE_TIME: str(file.stat().st_mtime_ns)}
            obstore.put(self._store(), self.key, file, attributes=cast(Any, attributes))

    def copy_to(self, target: ObjectPath) -> None:
        """Write the object under another name of its bucket; the store copies it by itself."""
        import obstore

        with self._failures():
            obstore.copy(self._store(), self.key, target.key)

    def replace(self, target: Any) -> ObjectPath:  # noqa: ANN401 - as the library has it
        """Give the object another name: a copy, then the removal of this one."""
        self.copy_to(target)
        self.unlink()
        return cast(ObjectPath, target)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object; stores do not tell of one that is not there."""
        import obstore

        with self._failures():
            obstore.delete(self._store(), self.key)

    def remove_all(self) -> None:
        """Remove the object, and all below it."""
        import obstore

        names = [f"{self.key}/{name}" for name, _ in self.objects()]
        with self._failures():
            for start in range(0, len(names), _DELETED_TOGETHER):
                obstore.delete(self._store(), names[start : start + _DELETED_TOGETHER])
        self.unlink()

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a folder is there as long as there is an object in it."""

    def _store(self) -> ObjectStore:
        scheme, bucket = self.parts[0].removesuffix(":"), self.parts[1]
        prefix = _VARIABLES[scheme]
        own = sorted((name, value) for name, value in os.environ.items() if name.startswith(prefix))
        return _open_store(scheme, bucket, tuple(own))

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Say in a sentence what a store refuses."""
        from obstore import exceptions

        scheme = self.parts[0].removesuffix(":")
        try:
            yield
        except MissingObjectError:
            raise
        except (exceptions.NotFoundError, FileNotFoundError):
            raise self._missing(scheme) from None
        except exceptions.PreconditionError:
            raise NotFoundError(f"{self} was replaced while it was read; run it again.") from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
            raise self._refused(scheme) from None
        except (exceptions.BaseError, OSError) as error:
            if "NoSuchBucket" in str(error):
                raise self._missing(scheme) from None
            # The text of an error may hold a signed address: it is looked at, and not shown.
            if any(one in str(error) for one in _BAD_CREDENTIALS):
                raise self._refused(scheme) from None
            raise PlaceUnavailableError(
                f"{self} cannot be reached, tried for {_TRYING.seconds} seconds; look at the "
                f"network and at {_SETTINGS[scheme]}."
            ) from None

    def _missing(self, scheme: str) -> MissingObjectError:
        also = ", and at AWS_ENDPOINT_URL" if scheme == "s3" else ""
        return MissingObjectError(
            f"There is no {self}, or no bucket {self.parts[1]!r}: look at the name{also}."
        )

    def _refused(self, scheme: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self} may not be read with these credentials; set {_SETTINGS[scheme]}."
        )


def _refuse(name: str) -> Callable[..., Any]:
    def refuse(self: ObjectPath, *_arguments: object, **_options: object) -> None:
        raise io.UnsupportedOperation(f"{self} is in a bucket, where there is no {name}.")

    return refuse


# What the library would do to a file of this machine that is called as the URL.
for _name in ("rename", "symlink_to", "hardlink_to", "touch", "chmod", "rmdir", "rglob", "walk"):
    setattr(ObjectPath, _name, _refuse(_name))


class _ObjectFile(io.RawIOBase):
    """An object as a file, read by ranges."""

    def __init__(self, path: ObjectPath, size: int) -> None:
        self._path, self._size, self._at = path, size, 0

    def readable(self) -> bool:
        """It is for reading alone."""
        return True

    def seekable(self) -> bool:
        """Any range can be read."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        """Fill a buffer with what comes next."""
        target = memoryview(buffer)
        end = min(self._at + len(target), self._size)
        if end <= self._at:
            return 0
        (part,) = self._path.read_ranges([self._at], [end])
        target[: len(part)] = part
        self._at += len(part)
        return len(part)


def place_of(path: Path | str) -> Path:
    """A path, of an object where it is a URL.

    Raises:
        NotFoundError: the URL names no object that can be read by its name.
    """
    text = str(path)
    found = _URL.match(text)
    if found is None:
        return path if isinstance(path, Path) else Path(path)
    rest = text[found.end() :].rstrip("/")
    if rest and any(part in ("", ".", "..") for part in rest.split("/")):
        raise NotFoundError(f"{text} has an empty folder, `.` or `..`; rename the object.")
    return ObjectPath(f"{found[1]}:", found[2], *rest.split("/"))


@lru_cache(maxsize=32)
def _open_store(scheme: str, bucket: str, variables: tuple[tuple[str, str], ...]) -> ObjectStore:
    """A store with its connections, as the environment variables describe it."""
    from obstore.store import from_url

    endpoint = dict(variables).get("AWS_ENDPOINT_URL", "") if scheme == "s3" else ""
    options: dict[str, Any] = {"timeout": timedelta(seconds=60)}
    if endpoint.startswith("http://"):
        options["allow_http"] = True
    return from_url(
        f"{scheme}://{bucket}",
        client_options=cast(Any, options),
        retry_config={"max_retries": _MOST_TRIES, "retry_timeout": _TRYING},
    )


def _status(found: GetResult) -> os.stat_result:
    facts = _facts(found.meta)
    told = dict(found.attributes).get(_FILE_TIME)
    time_ns = facts.modified_at_ns if told is None else int(str(told))
    seconds = time_ns // 1_000_000_000
    mode = stat.S_IFREG | stat.S_IRUSR | stat.S_IWUSR
    return os.stat_result(
        (mode, 0, 0, 1, 0, 0, facts.size, seconds, seconds, seconds),
        {"st_mtime": time_ns / 1e9, "st_mtime_ns": time_ns},
    )


def _facts(found: ObjectMeta) -> ObjectFacts:
    return ObjectFacts(found["size"], found["last_modified"], found["e_tag"] or "")
