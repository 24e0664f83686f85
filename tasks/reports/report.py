"""What is told of a result: a title, sentences, tables and pictures, however it is shown."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_FIGURE = re.compile(r"[-–\d.,:% ]*( of \d+)?")


class Bar(str):
    """A cell that is a bar of blocks, which every way to show it keeps as it is."""

    __slots__ = ()


class SentNoun(StrEnum):
    """What can be sent as one file."""

    PROJECT = "project"
    RELEASE = "release"
    SESSION = "session"
    RUN = "run"


@dataclass(frozen=True)
class Shape:
    """What lies over a picture: outlines in its pixels, a colour as #rrggbb, and a name."""

    outlines: Sequence[Sequence[Sequence[float]]]
    colour: str
    name: str


@dataclass(frozen=True)
class Drawing:
    """A picture with shapes over it that stay shapes: a JPEG of a size in pixels."""

    jpeg: bytes
    width: int
    height: int
    shapes: Sequence[Shape]

    @property
    def address(self) -> str:
        """The picture without the shapes as an address."""
        return _address(self.jpeg)


@dataclass(frozen=True)
class Picture:
    """A picture of a report: a title, and a JPEG or WebP; `drawing` has shapes that stay shapes.

    Names in any script are readable in a drawing, in a JPEG only those in ASCII.
    """

    title: str
    jpeg: bytes
    drawing: Drawing | None = None

    @property
    def address(self) -> str:
        """The picture itself as an address, so that a page needs no other file."""
        return _address(self.jpeg)


def _address(picture: bytes) -> str:
    kind = "webp" if picture[8:12] == b"WEBP" else "jpeg"
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode()


@dataclass(frozen=True)
class Table:
    """A table of a report: texts in cells; there are `more` rows besides these.

    The title is "" for none; `brief` is how many rows a terminal shows, None for all.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    more: int = 0
    brief: int | None = 10

    def has_figures(self, column: int) -> bool:
        """Whether all cells of a column are figures, which stand below each other."""
        return all(_FIGURE.fullmatch(row[column]) for row in self.rows)

    def first(self, most: int | None) -> tuple[Sequence[Sequence[str]], int]:
        """The first rows, and how many more there are."""
        rows = self.rows if most is None else self.rows[:most]
        more = len(self.rows) - len(rows) + self.more
        return rows, more


@dataclass(frozen=True)
class Report:
    """What is told of a project, a release, a run or whatever a flow is about.

    Title and sentences are one line each; tables without rows are left out; `notes` say what
    somebody should look at; pictures come at the end; `places` are name and path of files.
    """

    title: str
    sentences: Sequence[str]
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    places: Sequence[tuple[str, str]] = ()


def figure(value: float | None, format_spec: str = "") -> str:
    """A figure as a cell; a dash for one that nobody knows."""
    return "–" if value is None else format(value, format_spec)


def count_table(title: str, counts: Mapping[str, int], what: str, unit: str) -> Table:
    """How often each thing occurs, as a table of two columns."""
    return Table(title, (what, unit), [(name, str(count)) for name, count in counts.items()])


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: 1 image, 2 images."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
