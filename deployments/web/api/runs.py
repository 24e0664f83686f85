"""Runs of models over collections: start, list, show, cancel, compare, remove."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from deployments.web.api.jobs import Job
from deployments.web.dependencies import (
    CursorQuery,
    DatabaseDependency,
    LimitQuery,
    SettingsDependency,
)
from deployments.web.envelope import Answer, Page, answer, decode_cursor, encode_cursor
from deployments.web.errors import problems
from deployments.web.removal import Removal, planned_removal, remove_thing
from deployments.web.starting import cancel, start_flow
from storage.database.connection import Database
from storage.database.stored_values import storable_text
from storage.database.tables.jobs import JobKind, JobStatus
from storage.database.tables.removals import RemovalNoun
from storage.errors import InvalidInputError, NotFoundError
from storage.inference.collections import find_collection
from storage.inference.evaluations import count_run_images, evaluation_id
from storage.inference.models import list_models
from storage.inference.results import describe_run
from storage.inference.run_pairs import comparison_id, count_pairs
from storage.inference.runs import RunRecord, find_run, forget_unused_run, list_runs
from storage.jobs.records import list_jobs
from tasks.inference.detections import DEFAULT_MAX_DETECTIONS
from tasks.inference.runs.order import RunOrder
from tasks.inference.runs.order_steps import order_run
from tasks.inference.runs.steps import fix_run_work

router = APIRouter(prefix="/runs", tags=["runs"])

RunPath = Annotated[str, Path(max_length=100, description="Id of the run, or its beginning.")]


class Run(BaseModel):
    """A model over a collection at a threshold, with what it has counted by now."""

    id: UUID = Field(description="Id of the run.")
    collection_id: UUID = Field(description="The collection.")
    collection: str = Field(description="Name of the collection.")
    model_id: UUID = Field(description="The model.")
    model: str = Field(description="Name of the model.")
    class_names: list[str] = Field(description="Classes of the model, by their number from 0.")
    threshold: float = Field(description="Objects must be more confident than this, 0 to 1.")
    image_size: int = Field(description="Longer side in pixels that the model sees.")
    max_detections: int = Field(description="So many objects of an image are counted at most.")
    class_mapping: dict[str, str] | None = Field(
        description="Which classes count as live and dead; null for those of these names."
    )
    status: JobStatus = Field(description="Of its newest job.")
    is_interrupted: bool = Field(description="It looks active, and nobody is at work on it.")
    total: int = Field(description="Images that it has done or planned.")
    processed_count: int = Field(description="Images with a good result.")
    failed_count: int = Field(description="Images that could not be done.")
    remaining: int = Field(description="Images without a result.")
    live_mussel_count: int = Field(description="Objects that count as live.")
    dead_mussel_count: int = Field(description="Objects that count as dead.")
    class_counts: dict[str, int] = Field(description="Objects by class.")
    runtime: str | None = Field(description="What has executed the model.")
    error_msg: str | None = Field(description="Why its newest job failed.")
    started_at: datetime | None = Field(description="When its newest job began.")
    completed_at: datetime | None = Field(description="When that ended.")
    created_at: datetime = Field(description="When the run was first asked for.")

    @classmethod
    def of(cls, record: RunRecord, **more: Any) -> Self:  # noqa: ANN401 - fields of subclasses
        """The run of a record."""
        return cls(
            **vars(record),
            live_mussel_count=record.live_count,
            dead_mussel_count=record.dead_count,
            remaining=record.remaining,
            **more,
        )


class NamedReason(BaseModel):
    """An image that could not be done."""

    name: str = Field(description="Name of the image in the collection.")
    reason: str = Field(description="Why.")


class RunDetails(Run):
    """A run with what is remarkable about it."""

    later: int = Field(description="Images that came into the collection since it was planned.")
    failures: list[NamedReason] = Field(description="The first 50 images that failed.")
    limited: list[str] = Field(
        description="The first 50 images with perhaps more objects than are counted."
    )
    limited_count: int = Field(description="How many such images there are.")
    copies: int = Field(description="Files of the collection that are copies of others.")


class NewRun(BaseModel):
    """What is to be looked at with which model.

    The same collection, model, threshold, image size and limit are the same run: images with a good
    result are left out, and those that failed are tried again.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"collection": "bay", "model": "mussels", "threshold": 0.5}]
        },
    )

    collection: str = Field(min_length=1, max_length=4000, description="Name or id of one.")
    model: str = Field(min_length=1, max_length=4000, description="Name or id of one.")
    threshold: float = Field(
        default=0.5, ge=0, le=1, description="Objects must be more confident than this."
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=512, description="Images stored at a time; left out, what suits."
    )
    image_size: int | None = Field(
        default=None,
        ge=32,
        le=8192,
        multiple_of=32,
        description="Longer side that the model sees; left out, its own.",
    )
    max_detections: int = Field(
        default=DEFAULT_MAX_DETECTIONS,
        ge=1,
        le=10_000,
        description="So many objects of an image are kept, the most confident ones.",
    )
    class_mapping: dict[str, Literal["live", "dead"]] | None = Field(
        default=None, description="What counts as live and dead; left out, classes of these names."
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:[0-9]{1,3})?)$",
        description="What the model runs on: auto, cpu, cuda or cuda:N.",
    )
    refresh: bool = Field(
        default=False, description="Bring the collection up to date with its source first."
    )


class StartedRun(BaseModel):
    """The run that was asked for, and its job."""

    run_id: UUID = Field(description="Id of the run.")
    job: Job = Field(description="The job that was started, or is at work on it.")


class CancelledRun(BaseModel):
    """Whether there was anything to cancel."""

    cancelled: bool = Field(description="Whether a job was active.")
    job: Job | None = Field(description="That job.")


class RunPair(BaseModel):
    """Two runs that are to be compared."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"first": "3f2a", "second": "81c0"}]}
    )

    first: str = Field(min_length=1, max_length=100, description="Id of a run, or its beginning.")
    second: str = Field(min_length=1, max_length=100, description="Id of the other one.")


class EvaluationOptions(BaseModel):
    """How a run is evaluated."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"class_mapping": {"mussel_live": "live"}}]}
    )

    class_mapping: dict[str, str] | None = Field(
        default=None,
        max_length=1000,
        description="Names of labels by classes of the model, where they differ.",
    )
    unlabelled: Literal["left out", "background"] = Field(
        default="left out", description="What images without a label file are."
    )
    average_precision: bool = Field(
        default=False, description="Have the model look once more, down to confidence 0.001."
    )


class StartedEvaluation(BaseModel):
    """The evaluation that was asked for, and its job."""

    evaluation_id: UUID = Field(description="Id of the evaluation.")
    job: Job = Field(description="The job that was started, or is at work on it.")


@router.get("", responses=problems(404))
def list_all_runs(
    database: DatabaseDependency,
    collection: Annotated[
        str | None, Query(max_length=4000, description="Only over this one (name or id).")
    ] = None,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> Answer[Page[Run]]:
    """List runs, the newest first."""
    found = list_runs(
        database,
        collection_id=None if collection is None else find_collection(database, collection).id,
        limit=limit + 1,
        after=decode_cursor(cursor, tuple[datetime, UUID]),
    )
    following = None
    if len(found) > limit:
        last = found[limit - 1]
        following = encode_cursor([(last.started_at or last.created_at).isoformat(), last.id])
    return answer(Page[Run](items=[Run.of(record) for record in found[:limit]], next=following))


@router.post("", status_code=202, responses=problems(404))
def start_run(
    database: DatabaseDependency, settings: SettingsDependency, body: NewRun
) -> Answer[StartedRun]:
    """Have a model find, outline and count objects on every image of a collection."""
    collection = find_collection(database, body.collection)
    # The worker chooses the device; which run it is does not depend on it.
    order = order_run(
        database,
        collection=str(collection.id),
        model=_id_of_model(database, body.model),
        threshold=body.threshold,
        image_size=body.image_size,
        max_detections=body.max_detections,
        class_mapping=body.class_mapping,
        device="cpu",
    )
    parameters = body.model_dump() | {
        "collection": str(collection.id),
        "model": str(order.model_id),
    }
    try:
        started = start_flow(
            database,
            settings,
            "collection-inference",
            parameters,
            kind=JobKind.COLLECTION_INFERENCE,
            subject=str(order.run_id),
            job_parameters=_job_parameters(order, parameters),
            # What a refreshed collection has is known when it was refreshed.
            fix_work=None if body.refresh else partial(fix_run_work, order=order),
        )
    except BaseException:
        forget_unused_run(database, order.run_id)
        raise
    said = "The run begins." if started.is_new else "It is at work already."
    return answer(StartedRun(run_id=order.run_id, job=Job.of(started.job)), said)


def _id_of_model(database: Database, key: str) -> str:
    """The id of the model of a name or id: what else finds a model are paths of the server."""
    for model in list_models(database):
        if key in (model.name, str(model.id)):
            return str(model.id)
    raise NotFoundError(f"There is no model {key!r}; GET /api/v1/models lists those that are.")


def _job_parameters(order: RunOrder, parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: parameters[name] for name in ("collection", "model", "device")},
        "threshold": order.threshold,
        "image_size": order.settings.image_size,
        "max_detections": order.settings.max_detections,
        "class_mapping": order.class_mapping,
    }


@router.post("/compare", status_code=202, responses=problems(404))
def compare_two_runs(
    database: DatabaseDependency, settings: SettingsDependency, body: RunPair
) -> Answer[Job]:
    """Have two runs compared, image by image and class by class; the job's result tells it."""
    first, second = find_run(database, body.first), find_run(database, body.second)
    pair = {"first": str(first.id), "second": str(second.id)}
    started = start_flow(
        database,
        settings,
        "compare-runs",
        pair,
        kind=JobKind.COMPARE_RUNS,
        subject=str(comparison_id(first.id, second.id)),
        job_parameters=pair,
        fix_work=lambda connection, _: count_pairs(connection, first.id, second.id).both,
    )
    said = "They are compared." if started.is_new else "They are being compared already."
    return answer(Job.of(started.job), said)


@router.get("/{run}", responses=problems(404))
def show_run(database: DatabaseDependency, run: RunPath) -> Answer[RunDetails]:
    """Show what a run has counted, and what failed."""
    record = find_run(database, run)
    found = describe_run(database, record)
    return answer(
        RunDetails.of(
            record,
            later=found["totals"]["later"],
            failures=[NamedReason(name=name, reason=why) for name, why in found["failures"]],
            **{name: found[name] for name in ("limited", "limited_count", "copies")},
        )
    )


@router.post("/{run}/evaluate", status_code=202, responses=problems(404))
def evaluate_one_run(
    database: DatabaseDependency,
    settings: SettingsDependency,
    run: RunPath,
    body: EvaluationOptions,
) -> Answer[StartedEvaluation]:
    """Have what a run has found compared with the labels of its images, at every threshold."""
    record = find_run(database, run)
    mapping = dict(sorted((body.class_mapping or {}).items()))
    known = {name.strip().casefold() for name in record.class_names}
    for name, label in mapping.items():
        if name.strip().casefold() not in known or label != storable_text(label):
            raise InvalidInputError(
                f"{name!r}: {label!r} is no pair of a class of the model and one of labels; the "
                f"model has {', '.join(record.class_names)}."
            )
    evaluation = evaluation_id(record.id, mapping, body.unlabelled)
    parameters = {
        "run": str(record.id),
        "class_mapping": mapping,
        "unlabelled": body.unlabelled,
        "average_precision": body.average_precision,
    }
    started = start_flow(
        database,
        settings,
        "evaluate-run",
        parameters,
        kind=JobKind.EVALUATE_RUN,
        subject=str(evaluation),
        job_parameters=parameters,
        fix_work=lambda connection, _: count_run_images(connection, record.id),
    )
    said = "It is evaluated." if started.is_new else "It is being evaluated already."
    return answer(StartedEvaluation(evaluation_id=evaluation, job=Job.of(started.job)), said)


@router.post("/{run}/cancel", responses=problems(404))
def cancel_run(
    database: DatabaseDependency, settings: SettingsDependency, run: RunPath
) -> Answer[CancelledRun]:
    """Cancel a run that is at work; what it has found stays, and the next start goes on."""
    record = find_run(database, run)
    active = list_jobs(
        database,
        kind=JobKind.COLLECTION_INFERENCE,
        subject=str(record.id),
        active_only=True,
        limit=1,
    )
    if not active:
        said = "Nobody is at work on it; nothing was cancelled."
        return answer(CancelledRun(cancelled=False, job=None), said)
    job = cancel(database, settings, active[0].id)
    return answer(CancelledRun(cancelled=True, job=Job.of(job)), "It ends within a batch.")


@router.get("/{run}/removal", responses=problems(404))
def plan_run_removal(database: DatabaseDependency, run: RunPath) -> Answer[Removal]:
    """Say what would go with a run; nothing is changed."""
    return answer(planned_removal(database, RemovalNoun.RUN, run))


@router.delete("/{run}", responses=problems(404, 409))
def remove_run(database: DatabaseDependency, run: RunPath) -> Answer[Removal]:
    """Remove a run: its results, polygons, snapshots, pages, and comparisons with it."""
    removal = remove_thing(database, RemovalNoun.RUN, run)
    return answer(removal, f"The run {removal.name} is removed.")
