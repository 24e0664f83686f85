"""Paths of objects in buckets: `s3://`, `gs://` and `az://`, by the library obstore.

Who may read them, and where the store is, stand in the standard environment variables alone.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING, Any, cast

from storage.errors import ConfigurationError, NotFoundError, PlaceUnavailableError

if TYPE_CHECKING:
    from obstore import ObjectMeta
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
        scheme, _, rest = super().__str__().partition(":/")
        return f"{scheme}://{rest}"

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

    def _missing(self, scheme: str) -> NotFoundError:
        also = ", and at AWS_ENDPOINT_URL" if scheme == "s3" else ""
        return NotFoundError(
            f"There is no {self}, or no bucket {self.parts[1]!r}: look at the name{also}."
        )

    def _refused(self, scheme: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self} may not be read with these credentials; set {_SETTINGS[scheme]}."
        )


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


def _facts(found: ObjectMeta) -> ObjectFacts:
    return ObjectFacts(found["size"], found["last_modified"], found["e_tag"] or "")
