"""evaluate-run: how good a run is, at which threshold, and which labels are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from prefect.client.schemas.objects import State

from flows.collection_inference import collection_inference
from flows.running.job import FlowJob, Outcome, run_as_job
from storage.database.connection import open_database
from storage.database.tables.jobs import JobKind
from storage.errors import InferenceError
from storage.inference.evaluations import find_evaluation
from storage.inference.runs import RunRecord, find_run
from tasks.inference.evaluation.report import best_in_words
from tasks.inference.evaluation.standard_figures import AP_FLOOR
from tasks.inference.evaluation.steps import (
    BACKGROUND,
    LEFT_OUT,
    EvaluationOrder,
    evaluate_images,
    publish_evaluation,
)
from tasks.running.decorators import flow


def _run_name(values: Mapping[str, Any]) -> str:
    return f"run {values['run'][:8]}"


@flow(name="evaluate-run", run_name=_run_name)
def evaluate_run(
    run: str,
    class_mapping: dict[str, str] | None = None,
    unlabelled: Literal["left out", "background"] = "left out",
    average_precision: bool = False,
) -> State[dict[str, Any]]:
    """Compare what a run has found with the labels of its images.

    Precision, recall and count errors are told at every threshold, without inference, and labels
    that are probably wrong. Images must be those of projects that have labels.

    Args:
        run: Id of a run, or its beginning.
        class_mapping: Names of labels by classes of the model, where they differ.
        unlabelled: What images without a label file are: left out, or background without objects.
        average_precision: Have the model look once more where detections were not kept down to the
            confidence 0.001, which average precision needs.

    Returns:
        A state that carries figures, best thresholds and where all of it lies; Cancelled when the
        job was cancelled.
    """
    order = EvaluationOrder(
        find_run(open_database(), run),
        dict(sorted((class_mapping or {}).items())),
        BACKGROUND if unlabelled == BACKGROUND else LEFT_OUT,
    )

    def work(job: FlowJob) -> Outcome:
        if average_precision:
            _look_again(order.run)
            job.raise_if_stopped()
        snapshot = evaluate_images(job.reference, order)
        page = publish_evaluation(order, snapshot)
        figures = find_evaluation(open_database(), str(order.id)).figures
        return Outcome(
            {"figures": figures, "snapshot": snapshot, "page": page}, best_in_words(figures)
        )

    return run_as_job(
        JobKind.EVALUATE_RUN,
        str(order.id),
        work,
        parameters={
            "run": str(order.run.id),
            "class_mapping": order.class_mapping,
            "unlabelled": order.unlabelled,
            "average_precision": average_precision,
        },
        about={"evaluation_id": str(order.id), "run_id": str(order.run.id)},
    )


def _look_again(run: RunRecord) -> None:
    """Have everything down to the confidence that average precision needs; known images answer.

    Raises:
        InferenceError: it has not come to an end.
    """
    state = collection_inference(
        collection=str(run.collection_id),
        model=str(run.model_id),
        threshold=AP_FLOOR,
        image_size=run.image_size,
        max_detections=run.max_detections,
        class_mapping=run.class_mapping,
        return_state=True,
    )
    if not state.is_completed():
        raise InferenceError(
            f"{run.model} has not looked at all of {run.collection} again: {state.message}"
        )
