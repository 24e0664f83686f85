"""Objects that several files list about one image: each becomes one, with all that is known."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tasks.labels.annotations import Box, Geometry, Keypoints, Label, OrientedBox, Polygon
from tasks.labels.geometry import ImageSize, box_around

_SAME_PIXELS = 0.5
"""Boxes that are written beside an outline are rounded; those of two objects differ by more."""
_UNKNOWN_SIZE = ImageSize(1000, 1000)


def join_objects(
    earlier: Sequence[Label],
    later: Sequence[Label],
    size: ImageSize | None,
    *,
    only_new_classes: bool = False,
) -> tuple[Label, ...]:
    """Join the labels that two files give to one image of `size`: each object once.

    The same annotation id of the same class, where the boxes touch, or the same box of the same
    class is the same object. It has the keypoints and the outline of whichever file has them, and
    its place among the earlier ones. With `only_new_classes` other later objects count where no
    earlier one has their class.
    """
    before, after = _objects(earlier), _objects(later)
    known = {_name(one) for one in before} if only_new_classes else set()
    places = _Places(before, size or _UNKNOWN_SIZE)
    added = []
    for one in after:
        found = places.take(one)
        if found is None and _name(one) not in known:
            added.append(one)
        elif found is not None:
            before[found] = _with_all(before[found], one)
    return tuple(_numbered([*before, *added]))


def _objects(labels: Sequence[Label]) -> list[list[Label]]:
    """Put the parts of each object together, in the order of the first ones."""
    objects: dict[object, list[Label]] = {}
    for position, label in enumerate(labels):
        key = ("whole", position) if label.instance is None else label.instance
        objects.setdefault(key, []).append(label)
    return list(objects.values())


def _numbered(objects: Sequence[Sequence[Label]]) -> Iterator[Label]:
    """The labels of all objects; parts have the number of theirs, counted from 1."""
    number = 0
    for parts in objects:
        has_number = parts[0].instance is not None
        number += has_number
        for part in parts:
            yield replace(part, instance=number) if has_number else part


class _Places:
    """Finds the objects of an image by annotation id and by box; each is found once."""

    def __init__(self, objects: Sequence[Sequence[Label]], size: ImageSize) -> None:
        self._size = size
        self._free = dict(enumerate(map(self._edges, objects)))
        self._by_id: dict[tuple[str, str], int] = {}
        self._by_place: dict[tuple[str, int, int], list[int]] = defaultdict(list)
        for position, parts in enumerate(objects):
            if parts[0].annotation_id is not None:
                self._by_id.setdefault((_name(parts), parts[0].annotation_id), position)
            self._by_place[(_name(parts), *self._corner(self._free[position]))].append(position)

    def take(self, parts: Sequence[Label]) -> int | None:
        """The position of the same object, if nobody has taken it yet."""
        edges, name = self._edges(parts), _name(parts)
        found = self._by_id.get((name, parts[0].annotation_id or ""))
        if found is None or found not in self._free or not _touch(self._free[found], edges):
            found = self._at(name, edges)
        if found is not None:
            del self._free[found]
        return found

    def _at(self, name: str, edges: tuple[float, ...]) -> int | None:
        column, row = self._corner(edges)
        for x in (column, column - 1, column + 1):
            for y in (row, row - 1, row + 1):
                for position in self._by_place.get((name, x, y), ()):
                    own = self._free.get(position)
                    if own is not None and all(
                        abs(one - other) <= _SAME_PIXELS
                        for one, other in zip(own, edges, strict=True)
                    ):
                        return position
        return None

    def _edges(self, parts: Sequence[Label]) -> tuple[float, ...]:
        """Left, top, right and bottom of an object in pixels."""
        corners = [corner for part in parts for corner in _extent(part.geometry)]
        return self._size.pixel_edges(box_around(corners))

    def _corner(self, edges: tuple[float, ...]) -> tuple[int, int]:
        return math.floor(edges[0]), math.floor(edges[1])


def _name(parts: Sequence[Label]) -> str:
    return parts[0].class_name


def _extent(geometry: Geometry) -> Sequence[tuple[float, float]]:
    """Points that reach as far as a geometry; a pose with its box."""
    if isinstance(geometry, Polygon):
        return geometry.points
    if isinstance(geometry, OrientedBox):
        return geometry.corners
    box = geometry.box if isinstance(geometry, Keypoints) else geometry
    half_width, half_height = box.width / 2, box.height / 2
    return (
        (box.center_x - half_width, box.center_y - half_height),
        (box.center_x + half_width, box.center_y + half_height),
    )


def _touch(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two boxes have a point in common."""
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _with_all(one: Sequence[Label], other: Sequence[Label]) -> list[Label]:
    """One object with the keypoints and the outline of two descriptions of it."""
    is_crowd = one[0].is_crowd or other[0].is_crowd
    poses = [part.geometry for part in (*one, *other) if isinstance(part.geometry, Keypoints)]
    best = next((parts for parts in (one, other) if not isinstance(parts[0].geometry, Box)), one)
    if poses:
        outlines = next(filter(None, map(_outlines, (one, other))), ())
        pose = replace(poses[0], outlines=outlines)
        best = [replace(one[0], geometry=pose, instance=None)]
    return [replace(part, is_crowd=is_crowd) for part in best]


def _outlines(parts: Sequence[Label]) -> tuple[Polygon, ...]:
    """The outline of an object in its parts; none where it has only a box."""
    first = parts[0].geometry
    if isinstance(first, Keypoints):
        return first.outlines
    return tuple(part.geometry for part in parts if isinstance(part.geometry, Polygon))
