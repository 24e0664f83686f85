"""The plan of a training set: what is in it, what the report says, and the same plan again."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from tasks.labels.annotations import Box, Polygon
from tasks.labels.dataset.addresses import Split
from tasks.reports.problem_log import Problem
from tasks.trainer.candidates import LeftOut, LeftOutReason
from tasks.trainer.geometry import TrainingTask
from tasks.trainer.splitting import SplitRatios
from tasks.training_sets.plan import TrainingSetOptions, plan_training_set
from tests.tasks.trainer.candidate_samples import candidate, label, offer

FISH, MUSSEL = label("fish"), label("mussel", 1)


def plan(*offers, **options):
    return plan_training_set(offers, TrainingSetOptions(**options))


def many(count, *labels, project="sea"):
    return [candidate(f"{number:02}.jpg", *labels, project=project) for number in range(count)]


@pytest.mark.parametrize(("count", "sizes"), [(1, (1, 0)), (2, (1, 1)), (3, (2, 1)), (10, (8, 2))])
def test_sizes_of_small_sets(count, sizes):
    made = plan(offer(*many(count, FISH)))
    assert (made.report.images["train"], made.report.images["val"]) == sizes
    assert made.report.images["test"] == 0


def test_a_single_image_is_for_training_and_the_report_says_what_that_means():
    made = plan(offer(*many(1, FISH)))
    described = yaml.safe_load(made.data_yaml)
    assert described["train"] == described["val"] == "images/train"
    assert "there is only one image" in made.report.notes[0]
    assert "its validation figures say nothing" in made.report.notes[0]


def test_images_that_all_belong_together_cannot_be_divided():
    same = [candidate(f"{number}.jpg", FISH, sha256="x") for number in range(4)]
    made = plan(offer(*same))
    assert made.report.images == {"train": 4, "val": 0, "test": 0}
    assert "all 4 images show the same thing" in made.report.notes[0]


def test_files_and_rows_of_a_set():
    made = plan(
        offer(candidate("v/a.jpg", MUSSEL, FISH)),
        offer(
            candidate("a.jpg", label("Mussel ", 0), project="river"),
            names={0: "MUSSEL "},
            project="river",
        ),
    )
    assert made.class_names == ("fish", "mussel")
    first, second = made.images
    assert (first.name, second.name) == ("river_a", "sea_a")
    assert yaml.safe_load(made.data_yaml)["task"] == "detect"
    assert first.label == b"1 0.5 0.5 0.25 0.25\n"
    assert second.label == b"1 0.5 0.5 0.25 0.25\n0 0.5 0.5 0.25 0.25\n"
    assert second.classes == ("fish", "mussel")
    assert first.image_path == f"images/{first.split.value}/river_a.jpg"
    assert first.label_path == f"labels/{first.split.value}/river_a.txt"
    assert yaml.safe_load(made.data_yaml)["names"] == {0: "fish", 1: "mussel"}


def test_backgrounds_are_images_whose_label_file_is_empty():
    unread = Problem("row_too_short", "x.txt", "2 values", 1, count=3)
    made = plan(
        offer(
            *many(4, FISH),
            candidate("empty.jpg"),
            candidate("lost.jpg", problems=(unread,)),
            candidate("unknown.jpg", label("7", 7)),
            candidate("flat.jpg", label("fish", 0, Box(0.5, 0.5, 0, 0))),
        )
    )
    assert sum(made.report.backgrounds.values()) == 1
    assert made.report.left_out == {"labels_unusable": 3}
    assert {one["relative_path"] for one in made.report.left_out_examples} == {
        "lost.jpg", "unknown.jpg", "flat.jpg",
    }  # fmt: skip
    assert made.report.label_problems == {"class_out_of_range": 1, "row_too_short": 3}
    assert any("none of the 2 classes" in one for one in made.report.class_problems)
    assert made.report.adjustments == {"no_area": 1}


def test_a_part_of_the_backgrounds_is_kept():
    offers = offer(*many(4, FISH), *[candidate(f"empty {number}.jpg") for number in range(10)])
    for ratio, kept in ((1.0, 10), (0.3, 3), (0.0, 0)):
        report = plan(offers, background_ratio=ratio).report
        assert sum(report.backgrounds.values()) == kept
        assert report.left_out == ({"background": 10 - kept} if kept < 10 else {})
        assert sum(report.images.values()) == 4 + kept


def test_nothing_labeled_is_an_error_that_says_why():
    left_out = [LeftOut("sea", "b.jpg", LeftOutReason.NO_LABEL_FILE, "it has no label file")]
    with pytest.raises(InvalidInputError, match=r"Nothing is labeled in 'sea'.*has no label file"):
        plan(offer(candidate("a.jpg"), left_out=left_out))
    with pytest.raises(InvalidInputError, match="Nothing is labeled in 'sea'"):
        plan(offer(names={}))
    with pytest.raises(InvalidInputError, match="Nothing is labeled"):
        plan(offer(candidate("a.jpg", label("fish", 0, Box(3, 3, 0.1, 0.1)))))


def test_kept_splits():
    images = [
        candidate("a.jpg", FISH, split=Split.TRAIN),
        candidate("b.jpg", FISH, split=Split.VAL, sha256="x"),
        candidate("c.jpg", FISH, split=Split.TRAIN, sha256="x"),
    ]
    made = plan(offer(*images), keep_splits=True)
    assert [image.split for image in made.images] == [Split.TRAIN, Split.VAL, Split.TRAIN]
    assert made.report.leaks == [["sea/b.jpg", "sea/c.jpg"]]
    assert "lie in two splits" in made.report.notes[0]
    with pytest.raises(InvalidInputError, match="1 for validation and 0 for testing"):
        plan(offer(images[1]), keep_splits=True)


def test_classes_that_no_training_image_shows_are_named():
    images = [*many(2, FISH), candidate("m.jpg", MUSSEL, split=Split.VAL)]
    notes = plan(offer(*images, names={0: "fish", 1: "mussel", 2: "crab"})).report.notes
    assert any("'crab'" in note for note in notes)
    assert not any("'fish'" in note for note in notes)


def test_ratios_without_training_are_refused():
    with pytest.raises(InvalidInputError, match=r"below 1, got val 0.5 and test 0.5"):
        TrainingSetOptions(ratios=SplitRatios(0, 0.5, 0.5))


def test_a_task_can_be_chosen():
    triangle = Polygon(((0.1, 0.1), (0.5, 0.1), (0.3, 0.4)))
    offers = offer(*many(2, label("fish", 0, triangle)), *[candidate("b.jpg", FISH)])
    assert plan(offers).report.task == "detect"
    segment = plan(offers, task=TrainingTask.SEGMENT)
    assert segment.report.adjustments == {"rectangle_of_box": 1}
    assert {len(image.label.split()) for image in segment.images} == {7, 9}


def test_the_report_counts_what_the_files_hold():
    made = plan(offer(*many(6, FISH, FISH, MUSSEL), candidate("empty.jpg")))
    by_split = {split.value: [image for image in made.images if image.split is split]
                for split in Split}  # fmt: skip
    for split, images in by_split.items():
        assert made.report.images[split] == len(images)
        rows = [row.split()[0] for image in images for row in image.label.decode().splitlines()]
        assert made.report.labels[split] == len(rows)
        for number, share in enumerate(made.report.classes):
            assert share.labels[split] == rows.count(str(number))
            assert share.images[split] == sum(share.name in image.classes for image in images)
    # The second fish has the same box as the first one.
    assert made.report.adjustments == {"duplicate": 6}


def test_images_that_nobody_has_measured_are_counted():
    images = [*many(2, FISH), candidate("new.jpg", FISH, is_measured=False)]
    report = plan(offer(*images, not_registered=4)).report
    assert report.projects[0].not_measured == 1
    assert "1 of 3 images are not measured" in report.notes[0]
    assert "4 image files in the folder of sea are not registered" in report.notes[1]


OFFERS = st.lists(
    st.tuples(
        st.lists(st.sampled_from([FISH, MUSSEL]), max_size=2),
        st.sampled_from([None, "x", "y"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@given(OFFERS, st.integers(0, 3), st.randoms())
def test_the_same_images_give_the_same_set_in_any_order(facts, seed, random):
    images = [candidate("always.jpg", FISH)]
    for number, (labels, content, is_copy) in enumerate(facts):
        name = f"{number:02}{'_hflip' if is_copy else ''}.jpg"
        more = {} if content is None else {"sha256": content}
        images.append(candidate(name, *labels, **more))
    first = plan(offer(*images), seed=seed)
    random.shuffle(images)
    second = plan(offer(*images), seed=seed)
    assert (second.key, second.data_yaml, second.images) == (
        first.key, first.data_yaml, first.images,
    )  # fmt: skip
    splits_of = {}
    for image in first.images:
        splits_of.setdefault(image.group, set()).add(image.split)
    assert all(len(splits) == 1 for splits in splits_of.values())
    names = [image.image_path for image in first.images]
    assert len(set(names)) == len(images) == sum(first.report.images.values())


def test_what_changes_the_files_changes_the_key():
    base = many(6, FISH)
    keys = {
        plan(offer(*base)).key,
        plan(offer(*base), seed=1).key,
        plan(offer(*base, names={0: "otter"})).key,
        plan(offer(*base[:-1], candidate("05.jpg", FISH, sha256="x"))).key,
        plan(offer(*base[:-1], candidate("05.jpg", MUSSEL))).key,
    }
    assert len(keys) == 5
