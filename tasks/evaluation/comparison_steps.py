"""Comparing two evaluations that are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.errors import InvalidInputError
from storage.inference.evaluations import EvaluationRecord, ImageRow
from tasks.evaluation.comparison import compare_counts


def compare_evaluations(
    first: EvaluationRecord,
    second: EvaluationRecord,
    ours: Sequence[ImageRow],
    theirs: Sequence[ImageRow],
) -> dict[str, Any]:
    """Compare two evaluations on the images that both have, as JSON values.

    Raises:
        InvalidInputError: they have no image in common.
    """
    known = {row.image_id: row for row in theirs}
    pairs = [(row, known[row.image_id]) for row in ours if row.image_id in known]
    if not pairs:
        raise InvalidInputError(
            f"The evaluations {str(first.id)[:8]} and {str(second.id)[:8]} have no image in common."
        )
    return {
        "first": _told(first),
        "second": _told(second),
        "images": len(pairs),
        "rows": compare_counts(
            *(
                [(row.labelled, row.counted, row.right_count) for row in side]
                for side in zip(*pairs, strict=True)
            )
        ),
    }


def _told(one: EvaluationRecord) -> dict[str, Any]:
    names = ("id", "run_id", "collection", "model", "threshold")
    return {name: getattr(one, name) for name in names}
