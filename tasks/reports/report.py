"""What is told of a result: a title, sentences, tables and pictures, however it is shown."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Picture:
    """A picture of a report: a title, and a JPEG."""

    title: str
    jpeg: bytes

    @property
    def address(self) -> str:
        """The picture itself as an address, so that a page needs no other file."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


@dataclass(frozen=True)
class Table:
    """A table of a report; all but the first column are numbers where `is_numeric`."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    is_numeric: bool = True


@dataclass(frozen=True)
class Report:
    """What is told of a run or of a comparison.

    Attributes:
        title: one line.
        sentences: below it, one line each.
        tables: those without rows are left out.
        pictures: at the end.
        places: name and path of files to look at.
    """

    title: str
    sentences: Sequence[str]
    tables: Sequence[Table]
    pictures: Sequence[Picture] = ()
    places: Sequence[tuple[str, str]] = ()
