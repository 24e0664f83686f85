"""Comparing the images of a project, against plain loops over Python's integers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.quality.issues import QualityThresholds
from tasks.quality.similar.comparison import (
    EarlierComparison,
    ProjectMeasurements,
    compare_measurements,
)

THRESHOLDS = QualityThresholds()
SECOND_HASH_DISTANCE = 10


@dataclass(frozen=True)
class Picture:
    """What is measured of an image, as plain numbers."""

    first: int
    second: int = 0
    flat: bool = False
    brightness: float = 0.5


# Near each other, far from each other, and equal ones: ties and chains come by themselves.
NEAR = st.sets(st.integers(0, 63), max_size=4).map(lambda bits: sum(1 << bit for bit in bits))
HASH = st.one_of(st.integers(0, 7), NEAR, st.integers(0, 2**64 - 1))
PICTURE = st.builds(Picture, first=HASH, second=HASH, flat=st.sampled_from([False] * 4 + [True]))
PICTURES = st.lists(PICTURE, max_size=18)


def measurements(pictures):
    count = len(pictures)
    return ProjectMeasurements(
        sharpness_variance=np.full(count, 250.0),
        focus=np.full(count, 6.0),
        brightness=np.array([picture.brightness for picture in pictures], dtype=np.float64),
        contrast=np.full(count, 0.5),
        perceptual_hash=[f"{picture.first:016x}" for picture in pictures],
        difference_hash=[f"{picture.second:016x}" for picture in pictures],
        low_information=np.array([picture.flat for picture in pictures], dtype=np.bool_),
    )


def compare(pictures, thresholds=THRESHOLDS, **options):
    return compare_measurements(measurements(pictures), thresholds, **options)


def nearest_by_hand(pictures):
    """(place, distance) of the nearest other image, the first of several; (-1, -1) for none."""
    found = []
    for place, picture in enumerate(pictures):
        others = [
            ((picture.first ^ other.first).bit_count(), there)
            for there, other in enumerate(pictures)
            if there != place and not other.flat and not picture.flat
        ]
        distance, there = min(others, default=(-1, -1))
        found.append((there, distance))
    return found


def groups_by_hand(pictures, distance, second_distance=64):
    """The number of each image's group: a walk from every image that nobody has reached yet."""

    def is_near(a, b):
        return (
            a is not b
            and not (a.flat or b.flat)
            and (a.first ^ b.first).bit_count() <= distance
            and (a.second ^ b.second).bit_count() <= second_distance
        )

    numbers = [0] * len(pictures)
    highest = 0
    for place, picture in enumerate(pictures):
        if numbers[place] or not any(is_near(picture, other) for other in pictures):
            continue
        highest += 1
        waiting = [place]
        while waiting:
            here = waiting.pop()
            if not numbers[here]:
                numbers[here] = highest
                waiting += [
                    there for there, other in enumerate(pictures) if is_near(pictures[here], other)
                ]
    return numbers


def as_tuples(comparison):
    return list(
        zip(
            comparison.uniqueness.tolist(),
            comparison.nearest_index.tolist(),
            comparison.nearest_distance.tolist(),
            comparison.duplicate_group.tolist(),
            comparison.overall_quality.tolist(),
            [tuple(found) for found in comparison.issues],
            strict=True,
        )
    )


@given(PICTURES, st.sampled_from([0.0, 1 / 64, 0.1, 0.5, 1.0]), st.integers(1, 3))
def test_it_equals_a_loop_over_all_pairs(pictures, duplicate, threads):
    thresholds = QualityThresholds(duplicate=duplicate)
    found = compare(pictures, thresholds, threads=threads)
    nearest = nearest_by_hand(pictures)
    assert (
        list(zip(found.nearest_index.tolist(), found.nearest_distance.tolist(), strict=True))
        == nearest
    )
    expected = [1.0 if distance < 0 else distance / 64 for _, distance in nearest]
    assert found.uniqueness.tolist() == expected
    allowed = max((d for d in range(65) if d / 64 < duplicate), default=-1)
    groups = groups_by_hand(pictures, allowed)
    assert found.duplicate_group.tolist() == groups
    for place, picture in enumerate(pictures):
        assert ("duplicate" in found.issues[place]) == (groups[place] > 0)
        assert ("duplicate" in found.issues[place]) == (expected[place] < duplicate)
        assert ("low_information" in found.issues[place]) == picture.flat
        assert found.overall_quality[place] == pytest.approx(
            0.35 * 0.5 + 0.2 + 0.2 * 0.5 + 0.25 * expected[place]
        )


@given(st.data(), PICTURES)
def test_going_on_from_an_earlier_comparison_changes_nothing(data, before):
    """Images by path: some removed, some changed, some added between the others."""
    known = dict(enumerate(before))
    earlier = compare(before)
    changes = data.draw(st.dictionaries(st.integers(-3, 20), PICTURE | st.none(), max_size=8))
    # Paths are numbers here; halves come to lie between those of before.
    now = dict(known)
    for path, picture in changes.items():
        if picture is None:
            now.pop(path, None)
        elif path in known:
            now[path] = picture
        else:
            now[path + 0.5] = picture
    paths = sorted(now)
    place_of = {path: place for place, path in enumerate(paths)}
    pictures = [now[path] for path in paths]

    def compared(picture):
        return None if picture is None or picture.flat else picture.first

    is_new, nearest = [], []
    for path in paths:
        old = known.get(path)
        is_new.append(compared(old) is None or compared(old) != compared(now[path]))
        there = -1 if old is None else int(earlier.nearest_index[path])
        nearest.append(place_of.get(there, -1) if there >= 0 else -1)
    went_on = compare(
        pictures,
        earlier=EarlierComparison(
            np.array(is_new, dtype=np.bool_), np.array(nearest, dtype=np.int64)
        ),
    )
    assert as_tuples(went_on) == as_tuples(compare(pictures))


@given(st.data(), PICTURES)
def test_in_another_order_the_same_images_get_the_same(data, pictures):
    order = data.draw(st.permutations(range(len(pictures))))
    found = compare(pictures)
    other = compare([pictures[place] for place in order])
    for there, place in enumerate(order):
        assert other.uniqueness[there] == found.uniqueness[place]
        assert other.nearest_distance[there] == found.nearest_distance[place]
        assert other.overall_quality[there] == found.overall_quality[place]
        assert other.issues[there] == found.issues[place]

    def members(comparison, names):
        groups = {}
        for name, group in zip(names, comparison.duplicate_group.tolist(), strict=True):
            groups.setdefault(group, set()).add(name)
        groups.pop(0, None)
        return {frozenset(group) for group in groups.values()}

    assert members(other, order) == members(found, range(len(pictures)))


def test_groups_are_numbered_by_their_first_image_and_chain():
    far = (1 << 64) - 1
    chain = [0b0, 0b111111, 0b111111111111]  # 6 and 6 apart, the ends 12
    pictures = [Picture(0xF0F0F0F000000000), *(Picture(first) for first in (far, chain[2]))]
    pictures += [Picture(first) for first in (chain[0], far ^ 1, chain[1])]
    assert compare(pictures).duplicate_group.tolist() == [0, 1, 2, 2, 1, 2]


def test_of_several_equally_near_images_the_first_is_the_nearest():
    pictures = [Picture(0b1), Picture(0b10), Picture(0b0), Picture(0b100), Picture(0b1)]
    assert compare(pictures).nearest_index.tolist() == [4, 2, 0, 2, 0]


def test_flat_images_are_nobodys_neighbour():
    pictures = [Picture(0, flat=True), Picture(0), Picture(0, flat=True)]
    found = compare(pictures)
    assert found.uniqueness.tolist() == [1.0, 1.0, 1.0]
    assert found.nearest_index.tolist() == [-1, -1, -1]
    assert found.duplicate_group.tolist() == [0, 0, 0]
    assert found.issues == [["low_information"], [], ["low_information"]]


def test_at_threshold_0_not_even_copies_are_duplicates():
    found = compare([Picture(5), Picture(5)], QualityThresholds(duplicate=0))
    assert found.uniqueness.tolist() == [0, 0]
    assert found.duplicate_group.tolist() == [0, 0]
    assert found.issues == [[], []]


def test_at_threshold_1_everything_but_the_opposite_is_a_duplicate():
    opposite = (1 << 64) - 1
    strict = QualityThresholds(duplicate=1)
    assert compare([Picture(0), Picture(opposite)], strict).duplicate_group.tolist() == [0, 0]
    assert compare([Picture(0), Picture(opposite ^ 1)], strict).duplicate_group.tolist() == [1, 1]


@given(PICTURES)
def test_in_large_projects_the_second_hash_confirms_duplicates(pictures):
    confirmed = compare(pictures, second_hash_from=len(pictures))
    groups = groups_by_hand(pictures, 6, SECOND_HASH_DISTANCE)
    assert confirmed.duplicate_group.tolist() == groups
    assert [bool(group) for group in groups] == ["duplicate" in i for i in confirmed.issues]
    unconfirmed = compare(pictures, second_hash_from=len(pictures) + 1)
    assert unconfirmed.duplicate_group.tolist() == groups_by_hand(pictures, 6)
    assert confirmed.uniqueness.tolist() == unconfirmed.uniqueness.tolist()


def test_the_second_hash_may_differ_in_ten_bits_and_no_more():
    for bits, expected in ((10, [1, 1]), (11, [0, 0])):
        pictures = [Picture(0, second=0), Picture(1, second=(1 << bits) - 1)]
        assert compare(pictures, second_hash_from=2).duplicate_group.tolist() == expected


def test_a_reference_of_its_own_changes_sharpness_and_what_follows():
    images = replace(measurements([Picture(0)]), sharpness_variance=np.array([250.0]))
    plain = {"blur_rule": "sharpness", "sharpness": 0.3}
    usual = compare_measurements(images, QualityThresholds(**plain))
    other = compare_measurements(images, QualityThresholds(**plain, sharpness_reference=1000))
    assert (usual.issues, other.issues) == ([[]], [["blur"]])
    assert usual.overall_quality[0] - other.overall_quality[0] == pytest.approx(0.35 * 0.25)


def test_an_empty_project_has_nothing_to_compare():
    assert as_tuples(compare([])) == []
