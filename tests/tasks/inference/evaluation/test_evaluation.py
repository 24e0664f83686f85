"""Whatever images, labels and detections there are, an evaluation says something that is true."""

from __future__ import annotations

import json

import pytest

from tasks.inference.evaluation.evaluation import evaluate, match_rows
from tasks.inference.evaluation.objects import ObjectRows

A, B = (0, 0, 10, 10), (20, 20, 40, 40)


def rows_of(*rows):
    made = ObjectRows()
    for image, class_id, box, *more in rows:
        made.add(image, class_id, box, **(more[0] if more else {}))
    return made.objects()


CROWD = {"is_crowd": True}
SURE = {"confidence": 0.9}
HALF = {"confidence": 0.5}
CASES = {
    "nothing": ([], [], (0, 0, 0)),
    "nothing found": ([(0, 0, A)], [], (0, 0, 1)),
    "nothing labelled": ([], [(0, 0, A, SURE)], (0, 1, 0)),
    # The second is of another class than the crowd in which it lies.
    "all crowds": (
        [(0, 0, A, CROWD), (1, 1, B, CROWD)],
        [(0, 0, A, SURE), (1, 0, B, SURE)],
        (0, 1, 0),
    ),
    "ties": (
        [(0, 0, A), (0, 0, A)],
        [(0, 0, A, HALF), (0, 0, A, HALF), (0, 1, A, HALF)],
        (2, 1, 0),
    ),
    "no area": ([(0, 0, (5, 5, 5, 5))], [(0, 0, (5, 5, 5, 5), HALF)], (0, 1, 1)),
    "as sure as can be": ([(0, 0, A)], [(0, 0, A, {"confidence": 1.0})], (1, 0, 0)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("names", [["a", "b"], ["all classes", "background"]])
def test_odd_evaluations_have_figures_curves_and_rows(case, names):
    labelled, found, wanted = CASES[case]
    labels, detections = rows_of(*labelled), rows_of(*found)
    told = evaluate(labels, detections, 2, names, threshold=0.4, floor=0.001, limit=300)
    at = told.figures["classes"][0]["at_threshold"]
    assert (at["right"], at["wrong"], at["missed"]) == wanted
    assert len(told.curves) == 3, "a class may be called as all classes together are"
    json.dumps([told.figures, told.curves], allow_nan=False)
    rows = list(match_rows(labels, detections, told, names, [("1", "a"), ("2", "b")]))
    assert len(rows) == len(detections) + at["missed"]
    assert told.figures["crowds"] == sum(len(row) > 3 and row[3] is CROWD for row in labelled)
