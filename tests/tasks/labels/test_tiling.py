"""What of each object lies in a tile: areas, parts, shares, and what is dropped."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from tasks.images.tiling import Tile, tile_grid
from tasks.labels.annotations import Box, Keypoint, Keypoints, Label, OrientedBox, Polygon
from tasks.labels.tiling import CutOrientedBoxes, clip_labels_to_tiles, keeps_background_tile

WIDTH, HEIGHT = 80, 40
LEFT_HALF, RIGHT_HALF = Tile(0, 0, 40, 40), Tile(40, 0, 40, 40)


def clip(geometries, tile=LEFT_HALF, **options):
    """Clip to one tile of an image of 80 x 40 pixels."""
    labels = [Label("cat", one) for one in geometries]
    (result,) = clip_labels_to_tiles(labels, [tile], WIDTH, HEIGHT, **options)
    return result


def in_pixels(*points) -> tuple[tuple[float, float], ...]:
    return tuple((x / WIDTH, y / HEIGHT) for x, y in points)


def box_in_pixels(left, top, right, bottom) -> Box:
    return Box(
        (left + right) / 2 / WIDTH,
        (top + bottom) / 2 / HEIGHT,
        (right - left) / WIDTH,
        (bottom - top) / HEIGHT,
    )


def area_of(points) -> float:
    """The shoelace formula."""
    following = [*points[1:], points[0]]
    doubled = (ax * by - bx * ay for (ax, ay), (bx, by) in zip(points, following, strict=True))
    return abs(sum(doubled)) / 2


def pixel_area_of(label: Label, tile: Tile) -> float:
    geometry = label.geometry
    if isinstance(geometry, Box):
        return geometry.width * geometry.height * tile.width * tile.height
    assert isinstance(geometry, Polygon)
    return area_of(geometry.points) * tile.width * tile.height


def corners_of(box: Box) -> set[tuple[float, float]]:
    return {
        (round(box.center_x + x * box.width, 9), round(box.center_y + y * box.height, 9))
        for x in (-0.5, 0.5)
        for y in (-0.5, 0.5)
    }


@st.composite
def star_shapes(draw) -> Polygon:
    """A polygon without crossings: points in all directions around a middle, in their order."""
    x, y = draw(st.floats(0.2, 0.8)), draw(st.floats(0.2, 0.8))
    radii = draw(st.lists(st.floats(0.02, 0.2), min_size=4, max_size=12))
    turn = 2 * math.pi / len(radii)
    return Polygon(
        tuple(
            (x + radius * math.cos(number * turn), y + radius * math.sin(number * turn))
            for number, radius in enumerate(radii)
        )
    )


GRID = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(5, 30))


@given(star_shapes(), GRID)
def test_areas_of_a_polygon_add_up_over_a_partition(polygon, grid):
    columns, rows, side = grid
    width, height = columns * side, rows * side
    tiles = tile_grid(width, height, side, 0.0)

    clipped = clip_labels_to_tiles([Label("cat", polygon)], tiles, width, height, min_visible=0)

    parts = [
        pixel_area_of(label, tile)
        for tile, one in zip(tiles, clipped, strict=True)
        for label in one.labels
    ]
    assert sum(parts) == pytest.approx(area_of(polygon.points) * width * height, abs=1e-4)


@given(st.tuples(*[st.floats(0, 1)] * 4), GRID)
def test_areas_of_a_box_add_up_over_a_partition(numbers, grid):
    columns, rows, side = grid
    width, height = columns * side, rows * side
    (left, right), (top, bottom) = sorted(numbers[:2]), sorted(numbers[2:])
    box = Box((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    tiles = tile_grid(width, height, side, 0.0)

    clipped = clip_labels_to_tiles([Label("cat", box)], tiles, width, height, min_visible=0)

    parts = [
        pixel_area_of(label, tile)
        for tile, one in zip(tiles, clipped, strict=True)
        for label in one.labels
    ]
    assert sum(parts) == pytest.approx(box.width * box.height * width * height, abs=1e-4)


def is_inside(outline: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Even-odd rule: whether a ray to the right crosses the outline an odd number of times."""
    x, y = places.T
    crossings = np.zeros(len(places), dtype=int)
    for (ax, ay), (bx, by) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        if ay != by:
            crossings += ((ay > y) != (by > y)) & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return crossings % 2 == 1


@given(st.integers(0, 2**32 - 1), st.integers(3, 9))
def test_parts_cover_what_the_whole_outline_covers(seed, corner_count):
    """Also outlines that cross themselves, which form parts, rings and holes."""
    random = np.random.default_rng(seed)
    points = random.uniform(-0.2, 1.2, (corner_count, 2))
    tile, size = Tile(60, 20, 100, 80), np.array([200, 120])
    places = random.uniform(0, 1, (2000, 2))

    polygon = Polygon(tuple(map(tuple, points.tolist())))
    (result,) = clip_labels_to_tiles([Label("cat", polygon)], [tile], *size.tolist(), min_visible=0)

    in_tile = (points * size - (tile.left, tile.top)) / (tile.width, tile.height)
    # each place in at most one part: they do not overlap
    times = np.zeros(len(places), dtype=int)
    for label in result.labels:
        times += is_inside(np.array(label.geometry.points), places)
    assert times.tolist() == is_inside(in_tile, places).astype(int).tolist()


@given(star_shapes(), st.floats(0, 1))
def test_coordinates_stay_inside_and_nothing_is_lost_between_kept_and_dropped(polygon, limit):
    tiles = tile_grid(WIDTH, HEIGHT, 13, 0.3)
    labels = [Label("cat", polygon)]
    everything = clip_labels_to_tiles(labels, tiles, WIDTH, HEIGHT, min_visible=0)
    some = clip_labels_to_tiles(labels, tiles, WIDTH, HEIGHT, min_visible=limit)

    whole = area_of(polygon.points) * WIDTH * HEIGHT
    for tile, full, result in zip(tiles, everything, some, strict=True):
        share = sum(pixel_area_of(label, tile) for label in full.labels) / whole
        if abs(share - limit) > 1e-6:
            assert result.labels == (full.labels if share >= limit else ())
        assert result.dropped == int(bool(full.labels) and not result.labels)
        for label in result.labels:
            assert len(label.geometry.points) >= 3
            assert all(0 <= value <= 1 for point in label.geometry.points for value in point)


def test_boxes_are_cut_to_boxes():
    boxes = [box_in_pixels(30, 10, 50, 30), box_in_pixels(10, 10, 20, 20)]
    labels = [Label("cat", boxes[0], class_id=2, line=1), Label("dog", boxes[1], line=2)]

    left, right = clip_labels_to_tiles(labels, [LEFT_HALF, RIGHT_HALF], WIDTH, HEIGHT)

    assert left.labels == (
        Label("cat", Box(0.875, 0.5, 0.25, 0.5), class_id=2, line=1),
        Label("dog", Box(0.375, 0.375, 0.25, 0.25), line=2),
    )
    assert right.labels == (Label("cat", Box(0.125, 0.5, 0.25, 0.5), class_id=2, line=1),)


def test_the_share_is_of_what_the_image_shows():
    """100 square pixels of the box are in the image, 25 of them in the tile: a quarter."""
    box = box_in_pixels(30, -90, 50, 5)
    tile = Tile(0, 0, 35, 40)

    assert len(clip([box], tile, min_visible=0.25).labels) == 1
    assert clip([box], tile, min_visible=0.26).labels == ()


def test_a_polygon_in_the_tile_keeps_its_points_in_their_order():
    polygon = Polygon(in_pixels((50, 10), (70, 10), (60, 30)))

    result = clip([polygon], RIGHT_HALF)

    assert result.labels == (
        Label("cat", Polygon(((0.25, 0.25), (0.75, 0.25), (0.5, 0.75)))),
    )  # fmt: skip


def test_a_polygon_that_falls_apart_shares_one_instance_in_all_tiles():
    """A U on its side whose two arms reach into the left half."""
    arms = in_pixels((60, 5), (20, 5), (20, 10), (50, 10), (50, 30), (20, 30), (20, 35), (60, 35))
    labels = [
        Label("dog", box_in_pixels(0, 0, 5, 5), instance=6),
        Label("cat", Polygon(arms)),
        Label("cat", Polygon(arms)),
    ]

    left, right = clip_labels_to_tiles(labels, [LEFT_HALF, RIGHT_HALF], WIDTH, HEIGHT)

    numbers = [label.instance for label in left.labels]
    assert [label.class_name for label in left.labels] == ["dog"] + ["cat"] * 4
    assert numbers[0] == 6
    assert numbers[1] == numbers[2] != numbers[3] == numbers[4]
    assert not {6, None} & set(numbers[1:])
    assert [pixel_area_of(label, LEFT_HALF) for label in left.labels[1:]] == [100] * 4
    assert [label.instance for label in right.labels] == [None, None]


def test_parts_get_a_number_that_no_other_object_has():
    bow_tie = Polygon(in_pixels((10, 10), (30, 30), (30, 10), (10, 30)))
    labels = [
        Label("dog", box_in_pixels(0, 0, 5, 5), instance=1),
        Label("cat", bow_tie),
        Label("dog", box_in_pixels(5, 5, 9, 9), instance=3),
        Label("cat", bow_tie),
    ]

    (result,) = clip_labels_to_tiles(labels, [LEFT_HALF], WIDTH, HEIGHT)

    numbers = [label.instance for label in result.labels]
    assert numbers[0] == 1
    assert numbers[3] == 3
    assert numbers[1] == numbers[2]
    assert numbers[4] == numbers[5]
    assert len(set(numbers)) == 4


def test_parts_of_one_object_are_counted_together():
    """The right part alone shows nothing to the left; both parts are one object of 500 pixels."""
    labels = [
        Label("cat", box_in_pixels(10, 0, 20, 10), instance=1),
        Label("cat", box_in_pixels(50, 0, 60, 40), instance=1),
    ]

    def kept(min_visible):
        (result,) = clip_labels_to_tiles(
            labels, [LEFT_HALF], WIDTH, HEIGHT, min_visible=min_visible
        )
        return len(result.labels), result.dropped

    assert kept(0.2) == (1, 0)
    assert kept(0.21) == (0, 1)


def test_a_polygon_that_crosses_itself_becomes_two_triangles():
    bow_tie = Polygon(in_pixels((10, 10), (30, 30), (30, 10), (10, 30)))

    result = clip([bow_tie])

    assert [pixel_area_of(label, LEFT_HALF) for label in result.labels] == [100, 100]
    assert len({label.instance for label in result.labels}) == 1
    assert result.labels[0].instance is not None


def test_a_hole_stays_a_hole():
    """A square of 20 with a hole of 10, joined by a slit, as masks are written as outlines."""
    ring = in_pixels(
        (10, 10), (30, 10), (30, 30), (10, 30), (10, 10),
        (15, 15), (15, 25), (25, 25), (25, 15), (15, 15),
    )  # fmt: skip

    result = clip([Polygon(ring)])

    assert sum(pixel_area_of(label, LEFT_HALF) for label in result.labels) == pytest.approx(300)
    assert len(result.labels) == 2
    assert len({label.instance for label in result.labels}) == 1


TILTED = OrientedBox(in_pixels((40, 10), (50, 20), (40, 30), (30, 20)))


def test_an_oriented_box_in_the_tile_is_kept():
    result = clip([TILTED], Tile(20, 0, 40, 40))

    assert result.labels == (
        Label("cat", OrientedBox(((0.5, 0.25), (0.75, 0.5), (0.5, 0.75), (0.25, 0.5)))),
    )


def test_an_oriented_box_that_is_cut_becomes_its_visible_outline():
    (label,) = clip([TILTED]).labels

    assert isinstance(label.geometry, Polygon)
    assert set(label.geometry.points) == {(1.0, 0.25), (1.0, 0.75), (0.75, 0.5)}
    assert label.instance is None


def test_an_oriented_box_that_is_cut_becomes_a_rectangle_where_that_lies_in_the_tile():
    rectangle = CutOrientedBoxes.RECTANGLE

    # Of the tilted square the visible half is a triangle, whose rectangle is upright.
    (label,) = clip([TILTED], min_visible=0.5, cut_oriented_boxes=rectangle).labels
    assert isinstance(label.geometry, OrientedBox)
    assert area_of(label.geometry.corners) == pytest.approx(0.25 * 0.5)
    assert {(round(x, 9), round(y, 9)) for x, y in label.geometry.corners} == {
        *((0.75, 0.25), (1.0, 0.25), (1.0, 0.75), (0.75, 0.75)),
    }
    assert clip([TILTED], min_visible=0.51, cut_oriented_boxes=rectangle).labels == ()

    # Cut at an angle, the smallest rectangle around the rest leaves the tile: it is the outline.
    slanted = OrientedBox(in_pixels((20, 12), (60, 24), (57, 34), (17, 22)))
    (label,) = clip([slanted], cut_oriented_boxes=rectangle).labels
    outline = clip([slanted]).labels[0].geometry
    assert label.geometry == outline and isinstance(outline, Polygon)


@given(
    center=st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT)),
    sides=st.tuples(st.floats(2, 60), st.floats(2, 30)),
    angle=st.floats(0, math.pi),
)
def test_a_cut_oriented_box_lies_in_its_tile_and_holds_what_is_visible(center, sides, angle):
    cosine, sine = math.cos(angle), math.sin(angle)
    corners = [
        (
            center[0] + (x * sides[0] * cosine - y * sides[1] * sine) / 2,
            center[1] + (x * sides[0] * sine + y * sides[1] * cosine) / 2,
        )
        for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    box = OrientedBox(in_pixels(*corners))
    for tile in (LEFT_HALF, RIGHT_HALF):
        outlines = clip([box], tile, min_visible=0.0).labels
        rows = clip([box], tile, min_visible=0.0, cut_oriented_boxes=CutOrientedBoxes.RECTANGLE)
        assert len(rows.labels) == len(outlines) <= 1
        for outline, row in zip(outlines, rows.labels, strict=True):
            points = (
                row.geometry.points if isinstance(row.geometry, Polygon) else row.geometry.corners
            )
            assert all(0 <= value <= 1 for point in points for value in point)
            visible = (
                outline.geometry.points
                if isinstance(outline.geometry, Polygon)
                else outline.geometry.corners
            )
            assert area_of(points) >= area_of(visible) - 1e-5


def test_keypoints_outside_become_not_labelled():
    inside, outside = in_pixels((20, 20), (60, 20))
    animal = Keypoints(
        box_in_pixels(20, 10, 60, 30),
        (
            Keypoint(*inside, 1),
            Keypoint(*outside, 2),
            Keypoint(*inside, None),
            Keypoint(*outside, None),
            Keypoint(*inside, 0),
        ),
    )

    (label,) = clip([animal]).labels

    nowhere = Keypoint(0.0, 0.0, 0)
    assert label.geometry == Keypoints(
        Box(0.75, 0.5, 0.5, 0.5),
        (Keypoint(0.5, 0.5, 1), nowhere, Keypoint(0.5, 0.5, None), nowhere, nowhere),
    )


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=4))
def test_a_tile_of_the_whole_image_changes_no_box(numbers):
    boxes = [
        Box((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        for left, right, top, bottom in numbers
        if right - left > 0.01 and bottom - top > 0.01
    ]

    result = clip(boxes, Tile(0, 0, WIDTH, HEIGHT), min_visible=1.0)

    assert [corners_of(label.geometry) for label in result.labels] == list(map(corners_of, boxes))


def test_only_tiles_that_show_nothing_labelled_are_background():
    box = box_in_pixels(0, 0, 41, 10)

    assert not clip([box], LEFT_HALF).is_background
    assert clip([], LEFT_HALF).is_background
    assert clip([box_in_pixels(0, 0, 40, 10)], RIGHT_HALF).is_background
    sliver = clip([box], RIGHT_HALF)
    assert (sliver.labels, sliver.dropped, sliver.is_background) == ((), 1, False)


@pytest.mark.parametrize(
    "geometry",
    [
        Box(0.25, 0.5, 0.0, 0.5),
        Polygon(in_pixels((10, 10), (20, 20), (30, 30))),
        Polygon(in_pixels((10, 10), (20, 20))),
        Polygon(in_pixels((10, -10), (20, -10), (20, -20))),
    ],
    ids=["no width", "on a line", "two points", "outside the image"],
)
def test_objects_without_area_are_in_no_tile(geometry):
    assert clip([geometry], min_visible=0).is_background


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_coordinates_that_are_no_numbers_are_refused(value):
    with pytest.raises(ValueError, match="not a finite number"):
        clip([Box(value, 0.5, 0.1, 0.1)])


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_impossible_shares_are_refused(share):
    with pytest.raises(InvalidInputError):
        clip([], min_visible=share)
    with pytest.raises(InvalidInputError):
        keeps_background_tile("", share)


@given(st.text(max_size=5), st.floats(0, 1), st.floats(0, 1), st.integers())
def test_a_higher_ratio_keeps_the_background_tiles_of_a_lower_one(name, one, other, seed):
    low, high = sorted((one, other))

    assert keeps_background_tile(name, high, seed) or not keeps_background_tile(name, low, seed)
    assert keeps_background_tile(name, 1.0, seed)
    assert not keeps_background_tile(name, 0.0, seed)


def test_background_tiles_are_chosen_by_seed_in_about_the_given_number():
    names = [f"tile {number}" for number in range(1000)]

    choices = {
        frozenset(name for name in names if keeps_background_tile(name, 0.3, seed))
        for seed in range(5)
    }

    assert len(choices) == 5
    # five standard deviations of a binomial distribution
    assert all(abs(len(chosen) - 300) < 5 * (1000 * 0.3 * 0.7) ** 0.5 for chosen in choices)
