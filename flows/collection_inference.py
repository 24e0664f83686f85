"""collection-inference: a model finds, outlines and counts objects on images of a collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from prefect.client.schemas.objects import State
from pydantic import Field

from flows.running.job import FlowJob, Outcome, run_as_job
from storage.database.connection import open_database
from storage.database.tables.jobs import JobKind
from storage.errors import InferenceError
from storage.inference.collections import find_collection
from storage.inference.models import find_model
from storage.jobs.counted import JobCount
from storage.settings import get_settings
from tasks.inference.collection_steps import refresh_collection
from tasks.inference.detections import DEFAULT_MAX_DETECTIONS
from tasks.inference.runs.order import RunOrder
from tasks.inference.runs.order_steps import order_run
from tasks.inference.runs.report_steps import publish_run_report, write_run_snapshot
from tasks.inference.runs.steps import add_up_run, infer_chunk, load_run_model, plan_run
from tasks.reports.keys import artifact_key
from tasks.running.decorators import flow
from tasks.running.progress import Shown

Meaning = Literal["live", "dead"]


def _run_name(values: Mapping[str, Any]) -> str:
    database = open_database()
    collection = find_collection(database, values["collection"]).name
    model = find_model(database, values["model"]).name
    return f"{model} at {values['threshold']:g} on {collection}"


@flow(name="collection-inference", run_name=_run_name)
def collection_inference(
    collection: str,
    model: str,
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5,
    batch_size: Annotated[int, Field(ge=1, le=512)] | None = None,
    image_size: Annotated[int, Field(ge=32, le=8192, multiple_of=32)] | None = None,
    max_detections: Annotated[int, Field(ge=1, le=10_000)] = DEFAULT_MAX_DETECTIONS,
    class_mapping: dict[str, Meaning] | None = None,
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto",
    refresh: bool = False,
) -> State[dict[str, Any]]:
    """Find, outline and count objects on every image of a collection with a registered model.

    The same collection, model, threshold (to a thousandth), image size and limit of objects are
    the same run: images with a good result are left out, and those that failed are tried again.
    What a model has found is kept, so that another threshold needs no inference. While a run is at
    work, a second start reports that one.

    Args:
        collection: Name or id of the collection.
        model: Name or id of a model that was registered with `visionflows models add`.
        threshold: Objects must be more confident than this, 0 to 1.
        batch_size: Images stored at a time, and taken by a GPU at a time. Left out, what suits the
            model and the device.
        image_size: Longer side of the picture that the model sees, a multiple of 32. Left out, the
            model's own.
        max_detections: So many objects of an image are kept, the most confident ones.
        class_mapping: Which classes count as live and which as dead. Left out, the classes of these
            names.
        device: What the model runs on: auto, cpu, cuda or cuda:N.
        refresh: Bring the collection up to date with its folder or projects first.

    Returns:
        A state that carries the result of the run; Cancelled when it was cancelled.
    """
    database = open_database()
    order = order_run(
        database,
        collection=collection,
        model=model,
        threshold=threshold,
        batch_size=batch_size,
        image_size=image_size,
        max_detections=max_detections,
        class_mapping=class_mapping,
        device=device,
    )
    return run_as_job(
        JobKind.COLLECTION_INFERENCE,
        str(order.run_id),
        lambda job: _run(job, order, refresh),
        parameters={
            "collection": collection,
            "model": model,
            "threshold": order.threshold,
            "image_size": order.settings.image_size,
            "max_detections": order.settings.max_detections,
            "class_mapping": order.class_mapping,
            "device": order.device,
        },
        shown=Shown(
            artifact_key("inference-progress", f"{model} on {collection}", str(order.run_id)),
            f"{collection}, {model} at {order.settings.image_size} pixels, "
            f"threshold {order.threshold:g}",
        ),
        about={"run_id": str(order.run_id)},
    )


def _run(job: FlowJob, order: RunOrder, refresh: bool) -> Outcome:
    """Gather if that is wanted, plan, find in mapped chunks, add up, write a snapshot, report.

    Raises:
        InferenceError: no image of the collection could be done.
    """
    if refresh:
        # In the job: where the folder is gone, the run has failed and says why.
        count = JobCount(open_database(), job.reference)
        refresh_collection(
            open_database(),
            str(order.collection_id),
            workers=get_settings().workers,
            progress=lambda _done, _total: count.show(),
        )
    plan = plan_run(job.reference, order)
    # Where all is kept the weights may even be gone.
    model_runtime = load_run_model(job.reference, order) if plan.to_detect else None
    job.map(infer_chunk, plan.chunks, order=order)
    totals = add_up_run(order)
    if totals.failed_count and not totals.processed_count:
        raise InferenceError(
            f"all {totals.failed_count} images failed; the first: {totals.first_error}"
        )
    job.raise_if_stopped()
    snapshot = write_run_snapshot(job.reference, order)
    answered = plan.images - plan.to_detect
    page = publish_run_report(order, snapshot, (plan.to_detect, answered))
    result = {
        **asdict(totals),
        "detected": plan.to_detect,
        "answered": answered,
        "runtime": model_runtime,
        "snapshot": snapshot,
        "page": page,
    }
    return Outcome(
        result,
        f"{totals.processed_count} of {totals.total} images done, {totals.failed_count} failed",
        with_errors=totals.failed_count > 0,
    )
