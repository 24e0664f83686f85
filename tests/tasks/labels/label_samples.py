"""Labels and datasets for the tests of this folder: strategies, and helpers to compare."""

from __future__ import annotations

import math
from pathlib import PurePosixPath

from hypothesis import strategies as st

from tasks.labels.annotations import Box, Keypoint, Keypoints, Label, OrientedBox, Polygon
from tasks.labels.dataset.reading import read_dataset_labels
from tasks.labels.geometry import ImageSize

SOURCE = PurePosixPath("labels/train/ä.txt")
IMAGE = PurePosixPath("images/train/ä.jpg")

unit = st.floats(0, 1, allow_subnormal=False)
# Far outside and tiny values too: files have them.
anywhere = st.floats(-1e3, 1e3, allow_nan=False)
sizes = st.builds(ImageSize, st.integers(1, 20_000), st.integers(1, 20_000))
class_names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp", "Cf", "Cn"]),
    min_size=1,
    max_size=12,
).filter(lambda name: name == name.strip())


def boxes(values=unit):
    return st.builds(Box, values, values, st.floats(0, 1), st.floats(0, 1))


def has_area(box: Box) -> bool:
    return min(box.width, box.height) > 1e-5


def points(values=unit):
    return st.tuples(values, values)


def polygons(values=unit, max_points=12):
    """Outlines whose ends differ, also after a pixel position is rounded."""
    return (
        st.lists(points(values), min_size=3, max_size=max_points)
        .filter(lambda all_points: math.dist(all_points[0], all_points[-1]) > 1e-3)
        .map(lambda all_points: Polygon(tuple(all_points)))
    )


def oriented_boxes(values=unit):
    return st.builds(OrientedBox, st.tuples(*[points(values)] * 4))


def keypoints(count: int, dimensions: int, values=unit):
    visibility = st.none() if dimensions == 2 else st.sampled_from([0, 1, 2])
    point = st.builds(Keypoint, values, values, visibility)
    return st.builds(
        Keypoints, boxes(values), st.lists(point, min_size=count, max_size=count).map(tuple)
    )


def labels_of(geometries, names: dict[int, str]):
    """Lists of labels with the given geometries and with names that belong to their ids."""
    one = st.tuples(st.sampled_from(sorted(names)), geometries)
    return st.lists(one, max_size=8).map(
        lambda entries: [
            Label(names[class_id], geometry, class_id) for class_id, geometry in entries
        ]
    )


def numbers_of(geometry) -> list[float]:
    """All values of a geometry in a fixed order; a visibility of None counts as -1."""
    match geometry:
        case Box():
            return [geometry.center_x, geometry.center_y, geometry.width, geometry.height]
        case Polygon():
            return [value for point in geometry.points for value in point]
        case OrientedBox():
            return [value for point in geometry.corners for value in point]
    values = numbers_of(geometry.box)
    for point in geometry.points:
        values += [point.x, point.y, -1 if point.visibility is None else point.visibility]
    return values


def assert_same_labels(found, expected, *, tolerance=0.0, ids=True, instances=True):
    """Compare labels without their lines; values may differ by the tolerance."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.class_name == other.class_name
        assert type(one.geometry) is type(other.geometry)
        if ids:
            assert one.class_id == other.class_id
        if instances:
            assert one.instance == other.instance
        first, second = numbers_of(one.geometry), numbers_of(other.geometry)
        assert len(first) == len(second)
        differences = [abs(a - b) for a, b in zip(first, second, strict=True)]
        assert max(differences) <= tolerance, (one, other)


def codes(problems) -> list[str]:
    return [problem.code for problem in problems]


def read_files(files: dict[str, bytes | str], **options):
    """Read a dataset that is only in memory."""
    contents = {
        path: content.encode() if isinstance(content, str) else content
        for path, content in files.items()
    }
    return read_dataset_labels(list(contents), contents.__getitem__, **options)
