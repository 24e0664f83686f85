"""Divisions: exact sizes, twins together, classes in proportion, and always the same."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from tasks.trainer.split_improvement import improve_split
from tasks.trainer.splitting import SplitImage, SplitRatios, group_images, split_images, split_sizes

THREE = SplitRatios(0.8, 0.1, 0.1)
RATIO = st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.5, 0.7, 0.8])
RATIOS = (
    st.tuples(RATIO, RATIO, RATIO).filter(any).map(lambda values: SplitRatios(*values))
)  # fmt: skip
FEW_NAMES = st.none() | st.sampled_from("abcde")
IMAGE_FACTS = st.tuples(
    st.frozensets(st.sampled_from(["cat", "dog", "owl"])), FEW_NAMES, FEW_NAMES, FEW_NAMES
)


@st.composite
def image_sets(draw) -> list[SplitImage]:
    facts = draw(st.lists(IMAGE_FACTS, max_size=12))
    return [SplitImage(f"image {number}", *fact) for number, fact in enumerate(facts)]


def singles(count: int, *classes: str) -> list[SplitImage]:
    return [SplitImage(f"image {number}", frozenset(classes)) for number in range(count)]


def sizes_of(division) -> tuple[int, int, int]:
    counts = Counter(division.values())
    return counts["train"], counts["val"], counts["test"]


@pytest.mark.parametrize(
    ("count", "ratios", "expected"),
    [
        (0, SplitRatios(), (0, 0, 0)),
        (1, SplitRatios(), (1, 0, 0)),
        (2, SplitRatios(), (1, 1, 0)),
        (3, SplitRatios(), (2, 1, 0)),
        (4, SplitRatios(), (3, 1, 0)),
        (5, SplitRatios(), (4, 1, 0)),
        (7, SplitRatios(), (6, 1, 0)),
        (8, SplitRatios(), (6, 2, 0)),
        (10, SplitRatios(8, 2), (8, 2, 0)),
        (1, THREE, (1, 0, 0)),
        (2, THREE, (1, 1, 0)),
        (3, THREE, (1, 1, 1)),
        (4, THREE, (2, 1, 1)),
        (10, SplitRatios(0.7, 0.2, 0.1), (7, 2, 1)),
        (1, SplitRatios(0.1, 0.9), (1, 0, 0)),
        (2, SplitRatios(0.1, 0.9), (1, 1, 0)),
        (3, SplitRatios(1, 0, 0), (3, 0, 0)),
        (3, SplitRatios(0, 1, 0), (0, 3, 0)),
        (3, SplitRatios(1, 1, 1), (1, 1, 1)),
        (4, SplitRatios(1, 1, 1), (2, 1, 1)),
    ],
)
def test_sizes_worked_out_by_hand(count, ratios, expected):
    assert split_sizes(count, ratios) == expected
    assert sizes_of(split_images(singles(count, "cat"), ratios)) == expected


@given(st.integers(0, 500), RATIOS)
def test_sizes_are_within_one_of_their_share_and_none_is_forgotten(count, ratios):
    sizes = split_sizes(count, ratios)

    parts = (ratios.train, ratios.val, ratios.test)
    wanted = sum(part > 0 for part in parts)
    assert sum(sizes) == count
    for size, part in zip(sizes, parts, strict=True):
        assert (size == 0) if part == 0 else (size >= 1 or count < wanted)
        # at most two others may have to be given one image
        assert abs(size - count * part / sum(parts)) < 3


@given(st.lists(st.frozensets(st.sampled_from("abcd")), max_size=40), RATIOS, st.integers(0, 9))
def test_sizes_are_exact_when_no_images_belong_together(classes, ratios, seed):
    images = [SplitImage(str(number), one) for number, one in enumerate(classes)]

    assert sizes_of(split_images(images, ratios, seed)) == split_sizes(len(images), ratios)


@given(image_sets(), RATIOS, st.integers(0, 3), st.randoms())
def test_images_that_share_anything_stay_together_in_any_order(images, ratios, seed, shuffler):
    shuffled = list(images)
    shuffler.shuffle(shuffled)

    division = split_images(images, ratios, seed)

    assert set(division) == {image.key for image in images}
    for one in images:
        for other in images:
            shares = (
                (one.content_hash is not None and one.content_hash == other.content_hash)
                or (
                    one.duplicate_group is not None and one.duplicate_group == other.duplicate_group
                )
                or (one.source is not None and one.source == other.source)
            )
            if shares:
                assert division[one.key] == division[other.key]
    assert split_images(shuffled, ratios, seed) == division
    unused = {
        name for name in ("train", "val", "test") if getattr(ratios, name) == 0
    }  # fmt: skip
    assert not unused & set(division.values())


@given(image_sets(), RATIOS)
def test_no_split_stays_empty_while_there_are_groups_for_all(images, ratios):
    groups = group_images(images)
    targets = split_sizes(len(images), ratios)

    sizes = sizes_of(split_images(images, ratios))

    wanted = [split for split, target in enumerate(targets) if target > 0]
    if len(groups) >= len(wanted):
        assert all(sizes[split] > 0 for split in wanted)


def test_a_split_that_no_group_fits_into_gets_one_group():
    """Validation should have 1 image of 100, but there are groups of 10 only."""
    images = [SplitImage(str(number), source=f"video {number // 10}") for number in range(100)]

    assert sizes_of(split_images(images, SplitRatios(0.999, 0.001))) == (90, 10, 0)


def test_groups_join_over_other_images():
    images = [
        SplitImage("a.jpg", content_hash="one"),
        SplitImage("b.jpg", content_hash="one", duplicate_group=7),
        SplitImage("c.jpg", duplicate_group=7),
        SplitImage("c_hflip.jpg", source="c.jpg"),
        SplitImage("c_hflip_x00000.jpg", source="c_hflip.jpg"),
        SplitImage("d.jpg", source="one"),  # a source is no content hash
        SplitImage("e.jpg", duplicate_group="one"),
        SplitImage("f.jpg", source="video"),
        SplitImage("g.jpg", source="video"),
    ]

    groups = [[image.key[0] for image in group] for group in group_images(reversed(images))]

    assert groups == [["a", "b", "c", "c", "c"], ["d"], ["e"], ["f", "g"]]


def test_classes_are_divided_in_proportion():
    """Classes of 200, 40 and 10 images, 50 backgrounds, in pairs: all divide exactly by five."""
    kinds = [("common", 200), ("seldom", 40), ("rare", 10), (None, 50)]
    images = [
        SplitImage(
            f"{name} {number}", frozenset({name} - {None}), source=f"{name} pair {number // 2}"
        )
        for name, count in kinds
        for number in range(count)
    ]

    for seed in range(5):
        division = split_images(images, seed=seed)
        val = Counter(key.split()[0] for key, split in division.items() if split == "val")
        assert val == {"common": 40, "seldom": 8, "rare": 2, "None": 10}


def test_images_with_several_classes_are_divided_nearer_to_proportion_than_by_chance():
    """Above the number of groups that are improved, so that the greedy division is on its own."""
    source = random.Random(1)
    names = [f"class {number}" for number in range(20)]
    images = [
        SplitImage(
            f"image {number}",
            frozenset(source.choices(names, [1 / (k + 1) for k in range(20)], k=3)),
            source=f"scene {number // source.choice([1, 2, 5])}",
        )
        for number in range(3000)
    ]

    def worst_share(division) -> float:
        seen = Counter(name for image in images for name in image.classes)
        val = Counter(
            name for image in images for name in image.classes if division[image.key] == "val"
        )
        return max(abs(val[name] / seen[name] - 0.2) for name in names)

    keys = [image.key for image in images]
    by_chance = []
    for seed in range(5):
        chosen = set(random.Random(seed).sample(keys, 600))
        by_chance.append(worst_share({key: "val" if key in chosen else "train" for key in keys}))

    division = split_images(images)

    assert worst_share(division) < 0.01
    assert worst_share(division) < min(by_chance) / 2
    assert sizes_of(division) == (2400, 600, 0)


def cost_of(splits, sizes, classes, targets) -> tuple[int, float]:
    """What a division should keep small, in plain loops."""
    count = len(targets)
    members = [
        [group for group, one in enumerate(splits) if one == split] for split in range(count)
    ]
    size_cost = sum(
        abs(sum(sizes[group] for group in members[split]) - targets[split])
        for split in range(count)
    )  # fmt: skip
    class_cost = 0.0
    for column in range(len(classes[0])):
        total = sum(row[column] for row in classes)
        for split in range(count):
            if total:
                share = sum(classes[group][column] for group in members[split]) / total
                class_cost += abs(share - targets[split] / sum(targets))
    return size_cost, round(class_cost, 6)


def random_groups(seed: int) -> list[SplitImage]:
    source = random.Random(seed)
    return [
        SplitImage(f"{group} {number}", frozenset(source.sample("abc", source.randint(0, 2))),
                   source=f"group {group}")
        for group in range(source.randint(2, 7))
        for number in range(source.choice([1, 1, 1, 2, 3]))
    ]  # fmt: skip


def test_small_sets_are_nearly_always_divided_as_well_as_possible():
    """Compared with all divisions that there are, in which no split stays empty."""
    right_size = best = 0
    cases = 150
    for seed in range(cases):
        images = random_groups(seed)
        ratios = [SplitRatios(), SplitRatios(0.5, 0.5), SplitRatios(0.6, 0.2, 0.2)][seed % 3]
        groups = group_images(images)
        sizes = [len(group) for group in groups]
        columns = ["a", "b", "c", None]
        classes = [
            [sum(name in (image.classes or {None}) for image in group) for name in columns]
            for group in groups
        ]
        targets = split_sizes(len(images), ratios)
        usable = [split for split, target in enumerate(targets) if target]

        division = split_images(images, ratios, seed)
        splits = [("train", "val", "test").index(division[group[0].key]) for group in groups]
        reached = cost_of(splits, sizes, classes, targets)
        needed = min(len(usable), len(groups))
        optimum = min(
            cost_of(one, sizes, classes, targets)
            for one in product(usable, repeat=len(groups))
            if len(set(one)) >= needed
        )
        right_size += reached[0] == optimum[0]
        best += reached == optimum

    assert right_size >= 0.97 * cases
    assert best >= 0.85 * cases


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 3))
def test_no_move_and_no_exchange_makes_an_improved_division_better(seed, group_count, split_count):
    source = np.random.default_rng(seed)
    sizes = source.integers(1, 5, group_count)
    classes = source.integers(0, 4, (group_count, 3))
    targets = np.array([*[1] * (split_count - 1), max(1, int(sizes.sum()) - split_count + 1)])
    splits = source.integers(0, split_count, group_count)
    before = splits.tolist()

    improve_split(splits, sizes, classes, targets)

    def cost(division):
        return cost_of(division, sizes.tolist(), classes.tolist(), targets.tolist())

    after = splits.tolist()
    assert cost(after) <= cost(before)
    assert set(before) <= set(after)
    for one in range(group_count):
        for split in range(split_count):
            if after.count(after[one]) > 1:
                moved = [split if group == one else after[group] for group in range(group_count)]
                assert cost(moved) >= cost(after)
        for other in range(one):
            exchanged = list(after)
            exchanged[one], exchanged[other] = after[other], after[one]
            assert cost(exchanged) >= cost(after)


def test_another_seed_gives_another_division():
    divisions = [split_images(singles(50, "cat"), seed=seed) for seed in range(4)]

    assert len({tuple(division.values()) for division in divisions}) == 4
    assert all(sizes_of(division) == (40, 10, 0) for division in divisions)


def test_one_group_goes_to_training_as_a_whole():
    images = [SplitImage(str(number), source="video") for number in range(10)]

    assert sizes_of(split_images(images)) == (10, 0, 0)


def test_a_key_twice_is_refused():
    with pytest.raises(InvalidInputError, match=r"'a\.jpg' is to be divided twice"):
        split_images([SplitImage("a.jpg"), SplitImage("b.jpg"), SplitImage("a.jpg")])


@pytest.mark.parametrize(
    "ratios", [(0, 0, 0), (-1, 1, 1), (float("nan"), 1, 1), (float("inf"), 1, 1)]
)
def test_impossible_ratios_are_refused(ratios):
    with pytest.raises(InvalidInputError, match="Split ratios must be"):
        SplitRatios(*ratios)


@pytest.mark.parametrize(
    ("shares", "ratios"),
    [
        ((None, 0.2, 0.0), (0.8, 0.2, 0.0)),
        ((None, 0.2, 0.1), (0.7, 0.2, 0.1)),
        ((0.7, 0.2, 0.1), (0.7, 0.2, 0.1)),
        ((None, 0.5, 0.5), (0.0, 0.5, 0.5)),
    ],
)
def test_shares_of_a_whole(shares, ratios):
    made = SplitRatios.of_shares(*shares)
    assert (made.train, made.val, made.test) == pytest.approx(ratios)


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ((0.9, 0.9, 0.0), "train 0.9, val 0.9 and test 0 add up to 1.8, not to 1"),
        ((0.5, 0.2, 0.0), "add up to 0.7, not to 1"),
        ((None, 0.9, 0.2), "The shares val 0.9 and test 0.2 add up to 1.1, not to 1"),
        ((float("nan"), 0.2, 0.0), "train nan"),
    ],
)
def test_shares_that_are_no_whole_are_refused(shares, words):
    with pytest.raises(InvalidInputError, match=words):
        SplitRatios.of_shares(*shares)
