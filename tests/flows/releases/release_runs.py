"""Archives for the flows about releases, and what is stored of them."""

from __future__ import annotations

import contextvars
import threading
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import text

from storage.database.connection import Database

# What differs between two runs that found the same.
UNSTABLE = ("stats_computed_at", "updated_at")


def read_row(database: Database, name: str) -> dict[str, Any]:
    """All columns of a release that do not change with the time of day."""
    with database.transaction() as connection:
        row = connection.execute(
            text("SELECT * FROM releases WHERE name = :name"), {"name": name}
        ).mappings()
        return {key: value for key, value in row.one().items() if key not in UNSTABLE}


def count_members(path: Path) -> tuple[dict[str, int], Counter[tuple[str, int]]]:
    """Images of each split, and objects of each split and class, by plain reading."""
    images: Counter[str] = Counter()
    objects: Counter[tuple[str, int]] = Counter()
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            parts = name.split("/")
            split = next(("val" if part == "valid" else part for part in parts
                          if part in ("train", "val", "valid", "test")), None)  # fmt: skip
            if split is None:
                continue
            if name.endswith((".jpg", ".png")):
                images[split] += 1
            elif name.endswith(".txt"):
                for row in archive.read(name).decode().splitlines():
                    objects[split, int(row.split()[0])] += 1
    return dict(images), objects


def thread_of_flow(run: Callable[[], object]) -> threading.Thread:
    """A thread for a flow run that talks to the same Prefect server as this one."""
    context = contextvars.copy_context()
    return threading.Thread(target=lambda: context.run(run))


def long_archive(path: Path, members: int = 1500) -> Path:
    """An archive that takes a scan some seconds."""
    rows = "".join(
        f"{number % 2} 0.5 0.5 0.{number + 1000} 0.{number + 1000}\n" for number in range(800)
    ).encode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.yaml", "names: [open, closed]\n")
        for number in range(members):
            archive.writestr(f"images/train/{number}.jpg", b"picture %d" % number)
            archive.writestr(f"labels/train/{number}.txt", rows)
    return path
