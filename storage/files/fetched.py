"""Files of a folder where programs can open them, also where the folder is in a bucket."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.files.places import ObjectPath

REQUESTS_TOGETHER = 16
"""Requests to a store at the same time, where many small objects are looked at."""


@contextmanager
def fetched(folder: Path, names: Iterable[str]) -> Iterator[Callable[[str], str]]:
    """Tells where a file of a folder can be opened: these have been fetched, if it is in a bucket.

    The copies go with the block. What could not be fetched is named by its URL.
    """
    if not isinstance(folder, ObjectPath):
        root = f"{folder}/"
        yield lambda name: root + name
        return
    with tempfile.TemporaryDirectory(prefix="visionflows-") as passing:
        copies: dict[str, str] = {}

        def fetch(name: str) -> None:
            copy = Path(passing) / name
            with suppress(OSError):  # whoever opens it meets the same, and says so
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes((folder / name).read_bytes())
                copies[name] = str(copy)

        with ThreadPoolExecutor(REQUESTS_TOGETHER) as pool:
            list(pool.map(fetch, names))
        yield lambda name: copies.get(name) or str(folder / name)
