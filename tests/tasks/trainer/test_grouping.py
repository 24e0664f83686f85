"""Images that show the same thing are never parted, unless kept splits part them."""

from __future__ import annotations

from uuid import uuid5

from hypothesis import given
from hypothesis import strategies as st

from tasks.labels.dataset.addresses import Split
from tasks.trainer.grouping import as_split_images, divide
from tasks.trainer.splitting import SplitImage, SplitRatios, group_images
from tests.tasks.trainer.candidate_samples import NAMESPACE, candidate, label


def groups_of(*candidates, **more):
    classes = {one.key: frozenset() for one in candidates}
    groups = group_images(as_split_images(candidates, classes, **more))
    return [[image.key for image in group] for group in groups]


def test_near_duplicates_are_found_over_projects():
    zero, six, seven = "0" * 16, "3f" + "0" * 14, "7f" + "0" * 14
    assert groups_of(
        candidate("a.jpg", perceptual_hash=zero),
        candidate("b.jpg", project="river", perceptual_hash=six),
    ) == [["river/b.jpg", "sea/a.jpg"]]
    assert groups_of(
        candidate("a.jpg", perceptual_hash=zero), candidate("b.jpg", perceptual_hash=seven)
    ) == [["sea/a.jpg"], ["sea/b.jpg"]]


def test_images_that_are_not_measured_or_flat_are_nobodys_near_duplicate():
    assert len(groups_of(candidate("a.jpg"), candidate("b.jpg"))) == 2


def test_among_very_many_a_second_hash_decides():
    zero, one_bit, far = "0" * 16, "1" + "0" * 15, "f" * 16
    images = [
        candidate("a.jpg", perceptual_hash=zero, difference_hash=zero),
        candidate("b.jpg", perceptual_hash=one_bit, difference_hash=far),
    ]
    assert len(groups_of(*images)) == 1
    assert len(groups_of(*images, second_hash_from=2)) == 2


def test_equal_content_and_names_tie():
    assert groups_of(
        candidate("a.jpg", sha256="x"),
        candidate("z.jpg", project="river", sha256="x"),
        candidate("train/images/b_hflip.jpg"),
        candidate("valid/images/b.jpg"),
        candidate("c.jpg"),
    ) == [
        ["river/z.jpg", "sea/a.jpg"],
        ["sea/c.jpg"],
        ["sea/train/images/b_hflip.jpg", "sea/valid/images/b.jpg"],
    ]


def test_the_same_name_in_two_projects_ties_nothing():
    assert len(groups_of(candidate("a.jpg"), candidate("a.jpg", project="river"))) == 2


def test_what_was_generated_from_an_image_is_its_sibling_whatever_its_name():
    parent = uuid5(NAMESPACE, "sea/a.jpg")
    gone = uuid5(NAMESPACE, "sea/gone.jpg")
    assert groups_of(
        candidate("a.jpg"),
        candidate("another name.jpg", generated_from_id=parent),
        candidate("of gone 1.jpg", generated_from_id=gone),
        candidate("of gone 2.jpg", generated_from_id=gone),
    ) == [
        ["sea/a.jpg", "sea/another name.jpg"],
        ["sea/of gone 1.jpg", "sea/of gone 2.jpg"],
    ]


FEW = st.none() | st.sampled_from("abcd")
IMAGES = st.lists(
    st.tuples(st.frozensets(st.sampled_from(["cat", "dog"])), FEW, FEW, FEW), max_size=20
).map(lambda facts: [SplitImage(f"i{number:02}", *one) for number, one in enumerate(facts)])
SPLITS = st.dictionaries(st.integers(0, 19).map("i{:02}".format), st.sampled_from(list(Split)))
RATIOS = st.sampled_from([SplitRatios(), SplitRatios(0.6, 0.2, 0.2), SplitRatios(1, 0, 0)])


@given(IMAGES, RATIOS, st.integers(0, 5))
def test_no_group_lies_in_two_splits(images, ratios, seed):
    division = divide(images, ratios, seed)
    assert set(division.splits) == set(division.groups) == {image.key for image in images}
    assert division.leaks == []
    for group in set(division.groups.values()):
        members = [key for key, number in division.groups.items() if number == group]
        assert len({division.splits[key] for key in members}) == 1
    # Compared another way: whatever two images share, they share the split.
    for one in images:
        for other in images:
            shared = (
                one.content_hash is not None and one.content_hash == other.content_hash,
                one.duplicate_group is not None and one.duplicate_group == other.duplicate_group,
                one.source is not None and one.source == other.source,
            )
            if any(shared):
                assert division.splits[one.key] is division.splits[other.key]


@given(IMAGES, RATIOS, SPLITS)
def test_kept_splits_are_kept_and_what_they_part_is_told(images, ratios, kept):
    division = divide(images, ratios, 0, kept)
    keys = {image.key for image in images}
    assert set(division.splits) == keys
    assert all(division.splits[key] is split for key, split in kept.items() if key in keys)
    parted = {
        number
        for number in set(division.groups.values())
        if len({division.splits[key] for key in keys if division.groups[key] == number}) > 1
    }
    assert {division.groups[leak[0]] for leak in division.leaks} == parted


def test_an_image_without_a_split_follows_its_group():
    tie = {"duplicate_group": 1}
    images = [SplitImage(key, **tie) for key in "abc"] + [SplitImage(key) for key in "defghijkl"]
    kept = {"a": Split.TEST}
    division = divide(images, SplitRatios(), 0, kept)
    assert [division.splits[key] for key in "abc"] == [Split.TEST] * 3
    assert Split.TEST not in {division.splits[image.key] for image in images[3:]}


def test_labels_play_no_part_in_what_ties():
    one, two = candidate("a.jpg", label("fish")), candidate("b.jpg", label("fish"))
    assert len(groups_of(one, two)) == 2
