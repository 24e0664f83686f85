"""The rows that commands and artifacts show of a release."""

from __future__ import annotations

from tasks.releases.report import class_rows, problem_rows, release_report, split_rows
from tasks.reports.charts import share_bar
from tasks.reports.markdown import report_markdown


def entry(split, class_id, name, geometry, instances, images):
    return {
        "split": split,
        "class_id": class_id,
        "class_name": name,
        "geometry": geometry,
        "instances": instances,
        "images": images,
        "trainable_instances": instances - 1,
    }


SHAPES = {
    "source": "scan",
    "class_ids": [0, 3],
    "splits": [
        {
            "split": "train",
            "labelled_images": 6,
            "empty_labels": 1,
            "images_without_label": 1,
            "unreadable_labels": 1,
            "dropped_images": 2,
        }
    ],
    "classes": [
        entry("train", 0, "cat", "box", 5, 3),
        entry("train", 0, "cat", "polygon", 2, 1),
        entry("train", 7, "7", "box", 1, 1),
        entry("val", 0, "cat", "box", 4, 2),
    ],
}


def test_classes_are_summed_over_splits_and_none_is_missing():
    rows = class_rows(["cat", "dog"], SHAPES)
    assert [(row.class_id, row.name, row.geometry, row.instances, row.images) for row in rows] == [
        (0, "cat", "box", 9, 5),
        (0, "cat", "polygon", 2, 1),
        (3, "dog", "", 0, 0),
        (7, "7", "box", 1, 1),
    ]
    assert rows[0].by_split == {"train": 5, "val": 4}
    assert rows[0].trainable_instances == 7


def test_what_metadata_does_not_tell_is_not_shown_as_nothing():
    told = {
        "source": "metadata",
        "class_ids": [0],
        "splits": SHAPES["splits"],
        "classes": [entry("all", 0, "cat", "unknown", 5, 0)],
    }
    (row,) = class_rows(["cat"], told)
    assert (row.instances, row.images, row.trainable_instances) == (5, None, None)
    assert split_rows({"train": 1}, told)[0][4:] == ("–",) * 4


def test_splits_have_shares_bars_and_labels():
    train, val, test = split_rows({"train": 9, "val": 3, "test": 0, "unsplit": 0}, SHAPES)
    assert train == ("train", "9", "75.0%", "█" * 18, "6", "1", "2", "2")
    assert val == ("val", "3", "25.0%", "█" * 6, *("–",) * 4)
    assert test[:4] == ("test", "0", "0.0%", "")
    assert split_rows({"train": 0, "unsplit": 2}, SHAPES)[1][2] == "100.0%"
    assert split_rows({"train": 0}, {})[0][2] == "0.0%"


def test_bars_are_drawn_in_eighths_and_nothing_but_nothing_is_invisible():
    assert share_bar(0) == ""
    assert share_bar(1e-9) == "▏"
    assert share_bar(0.5) == "█" * 12
    assert share_bar(0.5 + 3 / 192) == "█" * 12 + "▍"
    assert share_bar(1) == "█" * 24


def test_problems_are_summed_by_kind_with_one_example():
    problems = [
        {"code": "b", "member": "x.txt", "line": 3, "detail": "wrong"},
        {"code": "a", "member": None, "line": None, "detail": "odd"},
        {"code": "b", "member": None, "line": None, "detail": "900 more", "count": 900},
    ]
    assert problem_rows(problems) == [("a", "1", "odd"), ("b", "901", "x.txt:3: wrong")]


RELEASE = {
    "name": "r",
    "model_path": "/data/r.zip",
    "stats_status": "completed",
    "stats_error": None,
    "stats_source": "scan",
    "split_counts": {},
    "classes_json": [],
    "shapes_json": {},
    "problems_json": [],
}


def page_of(left_out=(), **values):
    return report_markdown(release_report(RELEASE | values, left_out))


def test_a_page_of_metadata_does_not_claim_that_there_are_no_problems():
    assert "No problem was found." in page_of()
    told = page_of(stats_source="metadata")
    assert "No problem was found." not in told
    assert "not looked for" in told


def test_a_release_without_statistics_says_why():
    told = page_of(stats_source=None, stats_status="failed", stats_error="no archive")
    assert "r: no statistics yet \\(failed\\)." in told
    assert "- The last build failed: no archive" in told


def test_the_page_never_takes_a_name_for_markup():
    many = [f"class {number}" for number in range(200)]
    page = page_of(
        [{"code": "no_area", "count": 3, "example": "d|e.txt:1"}],
        name="<b>r</b>",
        model_path="/data/r|s.zip",
        split_counts={"train": 9, "val": 3},
        classes_json=["[cat](x)", "dog", *many],
        shapes_json={**SHAPES, "class_ids": [*SHAPES["class_ids"], *range(8, 208)]},
        problems_json=[{"code": "c", "member": "a|b\nc", "line": None, "detail": "<i>"}],
    )
    assert r"# Release \<b\>r\</b\>" in page
    assert r"\[cat\]\(x\)" in page
    assert r"a\|b c: \<i\>" in page
    assert "... and 104 more." in page
    assert "12 images, 202 classes, 12 objects, counted." in page
    assert "| train | 9 | 75.0% | `██████████████████` | 6 | 1 | 2 | 2 |" in page
    assert r"| no\_area | 3 | d\|e.txt:1 |" in page
