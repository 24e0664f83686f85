"""compare-runs: two runs of models side by side, image by image and class by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.client.schemas.objects import State

from flows.running.job import FlowJob, Outcome, run_as_job
from storage.database.connection import open_database
from storage.database.tables.jobs import JobKind
from storage.inference.run_pairs import comparison_id
from storage.inference.runs import find_run
from tasks.inference.runs.comparison_steps import (
    compare_run_pair,
    comparison_as_json,
    publish_comparison,
)
from tasks.running.decorators import flow


def _run_name(values: Mapping[str, Any]) -> str:
    return f"runs {values['first'][:8]} and {values['second'][:8]}"


@flow(name="compare-runs", run_name=_run_name)
def compare_runs(first: str, second: str) -> State[dict[str, Any]]:
    """Compare two runs: one model at two thresholds, or two models.

    On every image that both have done, objects of the same class whose boxes overlap by half (IoU
    0.5) are the same object. Nothing is run: what the models have found is kept.

    Args:
        first: Id of a run, or its beginning.
        second: Id of the other run, or its beginning.

    Returns:
        A state that carries counts, agreement by class, and the worst disagreements; Cancelled when
        the job was cancelled.
    """
    database = open_database()
    one, other = find_run(database, first), find_run(database, second)

    def work(job: FlowJob) -> Outcome:
        found = compare_run_pair(job.reference, one, other)
        result = {**comparison_as_json(found), "page": publish_comparison(one, other, found)}
        return Outcome(result, f"{found.images} images, agreement {found.total.agreement:.3f}")

    return run_as_job(
        JobKind.COMPARE_RUNS,
        str(comparison_id(one.id, other.id)),
        work,
        parameters={"first": str(one.id), "second": str(other.id)},
        about={"first_run_id": str(one.id), "second_run_id": str(other.id)},
    )
