"""The images of a project a page at a time: filtered, sorted, with the exact or estimated number.

Whatever the filter leaves is a set of combinations of flags (there are dozens in a project), and
`image_listing` has an index that holds each combination in every order. A page is merged from the
beginnings of these lists, so it costs the same wherever it lies and however rare what it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from storage.database.connection import Database, execute
from storage.database.stored_values import storable_text
from storage.database.tables.quality import MEASURES
from storage.errors import InvalidInputError

SortValue = str | float | None
_COUNTED_EXACTLY, _COUNTED_OF_CLASS = 10_000, 1_000
_ISSUES_FROM = 5
# So many images of lists, of a class each found by its key, or of a class sought in all lists, are
# taken and sorted within a tenth of a second, wherever they stand in the order.
_MOST_IN_LISTS, _MOST_BY_KEY, _MOST_IN_CLASS = 30_000, 20_000, 100_000
_HAS_FLAGS = "l.project_id = :project AND l.flags = ANY(CAST(:flags AS int[]))"
_HAS_CLASS = "k.project_image_id = l.project_image_id AND k.class_id = :class_id"
_LISTED = f"image_listing l WHERE {_HAS_FLAGS}"
_OF_CLASS = "image_classes k WHERE k.class_id = :class_id"
_PROBED = f"(SELECT true FROM image_classes k WHERE {_HAS_CLASS})"
# As these are no plain conditions, the planner makes no other joins of them.
_HASHED = f"(l.project_image_id IN (SELECT k.project_image_id FROM {_OF_CLASS})) IS TRUE"
_BY_KEY = f"""
(SELECT o.* FROM image_classes k CROSS JOIN LATERAL (SELECT * FROM image_listing i
WHERE i.project_image_id = k.project_image_id OFFSET 0) o WHERE k.class_id = :class_id) l
WHERE {_HAS_FLAGS}
"""


class ImageSort(StrEnum):
    """By what images are sorted: the columns of `image_listing` that have an index."""

    RELATIVE_PATH = "relative_path"
    FILE_SIZE = "file_size"
    SHARPNESS = "sharpness"
    FOCUS = "focus"
    BRIGHTNESS = "brightness"
    CONTRAST = "contrast"
    RED_AVG = "red_avg"
    GREEN_AVG = "green_avg"
    BLUE_AVG = "blue_avg"
    ENTROPY = "entropy"
    CLIPPED_BLACK = "clipped_black"
    CLIPPED_WHITE = "clipped_white"
    OVERALL_QUALITY = "overall_quality"
    UNIQUENESS = "uniqueness"


class ListedState(StrEnum):
    """Where an image stands: whether its file was there, and whether it could be measured."""

    PRESENT = "present"
    MEASURED = "measured"
    UNMEASURED = "unmeasured"
    FAILED = "failed"
    MISSING = "missing"


class SplitChoice(StrEnum):
    """The part of a dataset, or none."""

    NONE = "none"
    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class ListedIssue(StrEnum):
    """What can be wrong with an image, in the order of the bits in `image_listing.flags`."""

    BLUR = "blur"
    LOW_BRIGHTNESS = "low_brightness"
    HIGH_BRIGHTNESS = "high_brightness"
    LOW_CONTRAST = "low_contrast"
    DUPLICATE = "duplicate"
    LOW_INFORMATION = "low_information"


_STATES = (
    ListedState.MEASURED,
    ListedState.UNMEASURED,
    ListedState.FAILED,
    ListedState.MISSING,
)


# All that images which could not be measured can have: with or without labels, in any split.
FAILED_FLAGS = [
    _STATES.index(ListedState.FAILED) | label << 2 | split << 3
    for label in range(2)
    for split in range(len(SplitChoice))
]


@dataclass(frozen=True)
class ImageFilter:
    """Which images of a project; what is None is not asked for.

    `at_least` and `below` are of the value that they are sorted by.
    """

    issue: ListedIssue | None = None
    split: SplitChoice | None = None
    is_labeled: bool | None = None
    state: ListedState | None = None
    duplicate_group: int | None = None
    at_least: float | None = None
    below: float | None = None
    class_name: str | None = None

    @property
    def has_range(self) -> bool:
        """Whether not all values are taken."""
        return self.at_least is not None or self.below is not None

    def takes(self, flags: int) -> bool:
        """Whether images with these flags are among them, whatever their group."""
        state = state_of(flags)
        if self.state is ListedState.PRESENT:
            has_state = state is not ListedState.MISSING
        else:
            has_state = self.state in (None, state)
        return (
            has_state
            and self.is_labeled in (None, is_labeled(flags))
            # Without labels there is no class.
            and (self.class_name is None or is_labeled(flags))
            and self.split in (None, list(SplitChoice)[flags >> 3 & 3])
            and (self.issue is None or self.issue in issues_of(flags))
        )


def state_of(flags: int) -> ListedState:
    """The state that flags tell."""
    return _STATES[flags & 3]


def is_labeled(flags: int) -> bool:
    """Whether flags tell of labels."""
    return bool(flags & 4)


def issues_of(flags: int) -> list[ListedIssue]:
    """The issues that flags tell."""
    return [one for place, one in enumerate(ListedIssue) if flags >> _ISSUES_FROM + place & 1]


@dataclass(frozen=True)
class PlaceInOrder:
    """The last image of a page: the next page begins behind it."""

    value: SortValue
    image_id: UUID


@dataclass(frozen=True)
class ImageRow:
    """An image of a project as lists show it.

    Attributes:
        measures: by name, as `image_quality` has them; those that there are not are None.
        error_message: why it could not be measured.
    """

    id: UUID
    project_id: UUID
    relative_path: str
    filename: str
    sha256: str
    state: ListedState
    split: str | None
    is_labeled: bool
    label_count: int | None
    label_path: str | None
    label_format: str | None
    missing_since: datetime | None
    width: int | None
    height: int | None
    format: str | None
    file_size: int
    modified_at_ns: int
    duplicate_group: int | None
    issues: list[ListedIssue]
    error_code: str | None
    error_message: str | None
    measures: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class ImagePage:
    """A page of images.

    Attributes:
        next: where the next page begins; None on the last one.
        total: how many images the filter leaves, on all pages.
        total_is_exact: whether they were counted; else the planner's statistics say so.
    """

    images: list[ImageRow]
    next: PlaceInOrder | None
    total: int
    total_is_exact: bool


def load_image_page(
    database: Database,
    project_id: UUID,
    chosen: ImageFilter,
    *,
    sort: ImageSort = ImageSort.RELATIVE_PATH,
    descending: bool = False,
    after: PlaceInOrder | None = None,
    limit: int = 100,
    count_exactly: bool = False,
) -> ImagePage:
    """A page of images in an order; of equal ones the id decides, those without a value are last.

    Up to 10,000 images are counted (1,000 of a class that is filtered further), more are estimated
    unless they are to be counted exactly.

    Raises:
        InvalidInputError: a range of values is asked for in the order of the paths.
    """
    if chosen.has_range and sort is ImageSort.RELATIVE_PATH:
        raise InvalidInputError("A range of values needs an order by a value: give `sort` as well.")
    with database.reading() as connection:
        flags = [one for one in _flags_of(connection, project_id) if chosen.takes(one)]
        lists = _Lists(connection, project_id, flags, chosen, sort, descending)
        places = lists.merge(after, limit + 1)
        total, is_exact = lists.count(exactly=count_exactly)
        found = load_image_rows(connection, [place.image_id for place in places[:limit]])
    return ImagePage(found, places[limit - 1] if len(places) > limit else None, total, is_exact)


def _flags_of(connection: Connection, project_id: UUID) -> Sequence[int]:
    """The combinations of flags that a project has, each looked up in an index once."""
    return (
        execute(
            connection,
            "WITH RECURSIVE found AS ("
            "(SELECT flags FROM image_listing WHERE project_id = :id ORDER BY flags LIMIT 1) "
            "UNION ALL SELECT (SELECT l.flags FROM image_listing l WHERE l.project_id = :id "
            "AND l.flags > f.flags ORDER BY l.flags LIMIT 1) FROM found f WHERE f.flags IS NOT NULL"
            ") SELECT flags FROM found WHERE flags IS NOT NULL",
            id=project_id,
        )
        .scalars()
        .all()
    )


def list_classes(database: Database, project_id: UUID) -> list[str]:
    """The classes that the labels of a project's images have, by name."""
    rows = database.rows(
        "SELECT name FROM project_classes WHERE project_id = :id ORDER BY name", id=project_id
    )
    return [row[0] for row in rows]


class _Lists:
    """The images of some combinations of flags, each of which an index has in order.

    Images of a group or of a rare class are few: they are sorted. Those of a common class are the
    ones of the lists that have it; by path the class has a list of its own.
    """

    def __init__(
        self,
        connection: Connection,
        project_id: UUID,
        flags: list[int],
        chosen: ImageFilter,
        sort: ImageSort,
        descending: bool,
    ) -> None:
        self._connection = connection
        self._values = {
            "project": project_id,
            "flags": flags,
            "group": chosen.duplicate_group,
            "at_least": chosen.at_least,
            "beneath": chosen.below,
        }
        self._is_of_group = chosen.duplicate_group is not None
        self._has_class = chosen.class_name is not None
        self._is_whole_class = chosen == ImageFilter(class_name=chosen.class_name)
        if chosen.class_name is not None:
            self._values["class_id"] = _class_id(connection, project_id, chosen.class_name)
        self._column, self._way = f"l.{sort.value}", "DESC" if descending else "ASC"
        self._is_by_path = sort is ImageSort.RELATIVE_PATH
        self._has_range = chosen.has_range
        self._in_range = (
            "" if chosen.at_least is None else f" AND {self._column} >= :at_least"
        ) + ("" if chosen.below is None else f" AND {self._column} < :beneath")
        self._beyond = "<" if descending else ">"

    def merge(self, after: PlaceInOrder | None, limit: int) -> list[PlaceInOrder]:
        """The first images behind a place."""
        found: list[PlaceInOrder] = []
        if after is None or after.value is not None:
            condition = f"{self._column} IS NOT NULL{self._in_range}"
            if after is not None:
                condition += (
                    f" AND ({self._column}, l.project_image_id) {self._beyond} (:value, :after)"
                )
            found = self._begin(condition, after, limit)
            after = None
        if len(found) < limit and not self._has_range:
            condition = f"{self._column} IS NULL"
            if after is not None:
                condition += f" AND l.project_image_id {self._beyond} :after"
            found += self._begin(condition, after, limit - len(found))
        return found

    def _begin(self, condition: str, after: PlaceInOrder | None, limit: int) -> list[PlaceInOrder]:
        columns = f"SELECT {self._column} AS value, l.project_image_id AS id FROM"
        ordered = f"ORDER BY {self._column} {self._way}, l.project_image_id {self._way} "
        ordered += "LIMIT :limit"
        if self._sorted is not None:
            source = f"({columns} {self._sorted} AND {condition}) x"
        elif self._has_class and self._is_by_path:
            source = f"({columns} image_classes l WHERE l.class_id = :class_id AND {condition} "
            source += "AND (SELECT flags FROM image_listing o WHERE "
            source += "o.project_image_id = l.project_image_id) = ANY(CAST(:flags AS int[])) "
            source += f"{ordered}) x"
        else:
            # The column leads the order also where it is null, as it does in the index.
            has_class = f"AND {_PROBED} " if self._has_class else ""
            source = "unnest(CAST(:flags AS int[])) AS f(own) CROSS JOIN LATERAL "
            source += f"({columns} image_listing l WHERE l.project_id = :project "
            source += f"AND l.flags = f.own AND {condition} {has_class}{ordered}) x"
        rows = execute(
            self._connection,
            f"SELECT x.value, x.id FROM {source} ORDER BY x.value {self._way}, x.id {self._way} "
            "LIMIT :limit",
            **self._values,
            limit=limit,
            value=None if after is None else after.value,
            after=None if after is None else after.image_id,
        )
        return [PlaceInOrder(row.value, row.id) for row in rows]

    @cached_property
    def _sorted(self) -> str | None:
        """Where the images are that are few enough to be sorted; None where they are too many."""
        if not self._has_class:
            return f"{_LISTED} AND l.duplicate_group = :group" if self._is_of_group else None
        if self._is_of_group:
            return f"{_LISTED} AND l.duplicate_group = :group AND {_PROBED}"
        if self._count(_LISTED, _MOST_IN_LISTS + 1) <= _MOST_IN_LISTS:
            return f"{_LISTED} AND {_PROBED}"
        of_class = self._count(_OF_CLASS, _MOST_IN_CLASS + 1)
        if of_class <= _MOST_BY_KEY:
            return _BY_KEY
        if of_class <= _MOST_IN_CLASS:
            return f"{_LISTED} AND {_HASHED}"
        return None

    def _count(self, source: str, most: int | None) -> int:
        some = "" if most is None else f" LIMIT {most}"
        return int(
            execute(
                self._connection,
                f"SELECT count(*) FROM (SELECT 1 FROM {source}{some}) found",
                **self._values,
            ).scalar_one()
        )

    def count(self, *, exactly: bool) -> tuple[int, bool]:
        """How many images there are, and whether that is exact."""
        most = _COUNTED_EXACTLY
        if self._has_class and self._is_whole_class:
            chosen = estimated = _OF_CLASS
        elif self._has_class:
            chosen = f"{self._sorted or f'{_LISTED} AND {_PROBED}'}{self._in_range}"
            estimated = f"image_classes k JOIN image_listing l ON {_HAS_CLASS} WHERE {_HAS_FLAGS}"
            estimated += self._in_range
            most = _COUNTED_OF_CLASS
        else:
            chosen = estimated = f"{self._sorted or _LISTED}{self._in_range}"
        counted = self._count(chosen, None if exactly else most + 1)
        if exactly or counted <= most:
            return counted, True
        plan = execute(
            self._connection, f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {estimated}", **self._values
        ).scalar_one()
        return max(int(plan[0]["Plan"]["Plan Rows"]), counted), False


def _class_id(connection: Connection, project_id: UUID, name: str) -> int | None:
    found = execute(
        connection,
        "SELECT id FROM project_classes WHERE project_id = :id AND name = :name",
        id=project_id,
        name=storable_text(name),
    ).scalar()
    return None if found is None else int(found)


_ROW = f"""
SELECT i.id, i.project_id, i.relative_path, i.filename, s.sha256, l.flags, i.split, i.is_labeled,
       i.label_count, i.label_path, i.label_format, i.missing_since, s.width, s.height, s.format,
       i.file_size, i.modified_at_ns, l.duplicate_group, m.error_code, m.error_message,
       {", ".join(f"l.{name}" for name in MEASURES)}
FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS w(id, place)
JOIN project_images i ON i.id = w.id
JOIN image_listing l ON l.project_image_id = i.id
JOIN shared_images s ON s.id = i.shared_image_id
LEFT JOIN image_quality_metrics m ON m.shared_image_id = i.shared_image_id
ORDER BY w.place
"""


def load_image_rows(connection: Connection, ids: Sequence[UUID]) -> list[ImageRow]:
    """Some images in the order of their ids; those that there are not are left out."""
    rows = []
    for found in execute(connection, _ROW, ids=list(ids)).mappings():
        values: dict[str, Any] = dict(found)
        flags = values.pop("flags")
        measures = {name: values.pop(name) for name in MEASURES}
        rows.append(
            ImageRow(**values, state=_STATES[flags & 3], issues=issues_of(flags), measures=measures)
        )
    return rows
