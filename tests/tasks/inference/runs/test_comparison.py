"""Comparing two runs: counted by hand on made-up boxes."""

import numpy as np
import pytest

from tasks.inference.detections import Detection, ImageDetections
from tasks.inference.runs.comparison import (
    ClassComparison,
    ComparisonSummary,
    ImageComparison,
    compare_image,
    comparison_batch,
)


def found(*boxes):
    """Detections of (class id, left, top, right, bottom)."""
    entries = []
    for class_id, left, top, right, bottom in boxes:
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
        entries.append(Detection(class_id, 0.9, (left, top, right, bottom), (corners,)))
    return ImageDetections(100, 100, tuple(entries))


def test_classes_are_matched_by_name_and_boxes_by_half_of_their_area():
    first = found((0, 0, 0, 10, 10), (0, 20, 0, 30, 10), (1, 50, 50, 60, 60))
    # The first box again but a fifth (IoU 0.8), another far away; classes numbered otherwise.
    second = found((1, 0, 0, 10, 8), (1, 70, 0, 80, 10), (0, 50, 50, 60, 60), (2, 0, 0, 1, 1))
    dead, live, stone = compare_image(first, second, ("Live", "dead"), ("DEAD", "live", "stone"))
    assert (live.class_name, live.first, live.second, live.matched) == ("Live", 2, 2, 1)
    assert live.agreement == pytest.approx(1 / 3)
    assert live.mean_iou == pytest.approx(0.8)
    assert live.disagreements == 2
    assert (dead.class_name, dead.matched, dead.agreement) == ("dead", 1, 1.0)
    assert (stone.class_name, stone.first, stone.second) == ("stone", 0, 1)
    assert (stone.agreement, stone.mean_iou) == (0.0, None)


def test_nothing_in_both_agrees():
    assert compare_image(found(), found(), ("a",), ("a",)) == ()
    assert ImageComparison(0, "id", "name", ()).total.agreement == 1.0


def image(position, first, second, matched):
    counts = ClassComparison("live", first, second, matched, float(matched))
    return ImageComparison(position, f"id {position}", f"{position}.jpg", (counts,))


def test_sums_and_the_worst_images_the_first_of_equals():
    summary = ComparisonSummary(most=2)
    for one in (image(0, 3, 3, 3), image(1, 2, 1, 1), image(2, 5, 0, 0), image(3, 1, 2, 1)):
        summary.add(one)
    assert (summary.images, summary.equal_images) == (4, 1)
    total = summary.total
    assert (total.first, total.second, total.matched) == (11, 6, 5)
    assert total.agreement == pytest.approx(5 / 12)
    assert [one.name for one in summary.worst] == ["2.jpg", "1.jpg"]


def test_rows_of_the_snapshot_and_an_image_without_objects():
    batch = comparison_batch("a", "b", [image(0, 2, 1, 1), ImageComparison(1, "x", "1.jpg", ())])
    rows = batch.to_pylist()
    assert rows[0]["class"] == "live" and rows[0]["agreement"] == 0.5
    assert rows[1]["class"] is None
    assert (rows[1]["first_count"], rows[1]["second_count"], rows[1]["agreement"]) == (0, 0, 1.0)
