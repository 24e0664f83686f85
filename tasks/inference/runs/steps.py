"""The steps of collection-inference: plan, load the model, find in chunks, add up."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from storage.database.connection import open_database
from storage.database.stored_values import storable_text
from storage.errors import (
    ImageError,
    JobTakenOverError,
    NotFoundError,
    VisionflowsError,
)
from storage.files import remove_leftovers, remove_tree, write_files
from storage.inference.models import NewModel
from storage.inference.results import (
    ImageToDo,
    KeptQuery,
    RunImage,
    list_images_to_do,
    list_kept,
    load_kept,
    load_run_images,
    store_detections,
    store_results,
)
from storage.inference.runs import RunTotals, begin_run, require_run, store_runtime, sum_up_run
from storage.jobs.locks import JobReference
from storage.jobs.waiting import fix_work_list, fixed_work_list
from storage.settings import get_settings
from tasks.images.files import ImageLimits
from tasks.inference.detection.detection_records import from_record, to_record
from tasks.inference.detection.engine import Model, describe_weights, load_model
from tasks.inference.detection.image_stream import (
    ImageOutcome,
    ModelTurns,
    RegisteredContent,
    detect_in_files,
)
from tasks.inference.detection.letterbox import fit_letterbox
from tasks.inference.detection.thresholds import count_doubtful, filter_by_threshold
from tasks.inference.detections import ImageDetections
from tasks.inference.model.devices import CPU
from tasks.inference.model.weights import read_verified_weights, sha256_of_weights
from tasks.inference.runs.order import RunOrder
from tasks.inference.runs.polygon_document import polygon_document, polygon_document_bytes
from tasks.running.chunk_loop import ChunkReport, ChunkWork, work_through
from tasks.running.chunks import plan_chunks
from tasks.running.decorators import task

# For cutting chunks only.
_SECONDS_PER_MEGAPIXEL_SEEN = 0.12
_SECONDS_PER_ANSWER = 0.001
_BYTES_PER_SECOND = 40e6
_LONGEST_MESSAGE = 500
_STORED_TOGETHER = 32
_ANSWERED_TOGETHER = 128
_MOST_MODELS = 2
_LEFTOVER_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class RunPlan:
    """The chunks of a run, how many images are in them, and how many of these the model sees."""

    chunks: list[int]
    images: int
    to_detect: int


@dataclass(frozen=True)
class _LoadedModel:
    model: Model
    turns: ModelTurns


_models: OrderedDict[tuple[object, ...], _LoadedModel] = OrderedDict()
_models_lock = threading.Lock()


def describe_model(path: Path, *, is_trusted: bool = False) -> NewModel:
    """Read what weights are, to register them; see `describe_weights`.

    Raises:
        ModelError: they do not exist, would run something, cannot be loaded, or find no objects.
    """
    sha256 = sha256_of_weights(path)
    description = describe_weights(path, sha256, is_trusted=is_trusted)
    return NewModel(
        weights_path=path,
        sha256=sha256,
        task=description.task.value,
        class_names=tuple(map(storable_text, description.class_names)),
        format=description.format.value,
        image_size=description.image_size,
    )


def fix_run_work(connection: Connection, job_id: UUID, order: RunOrder) -> int:
    """Fix the work list of a job that waits for its flow run; how many images."""
    images = list_images_to_do(connection, order.run_id, order.counted_classes, _kept_query(order))
    return fix_work_list(connection, job_id, [image.image_id for image in images])


@task(run_name="plan")
def plan_run(job: JobReference, order: RunOrder) -> RunPlan:
    """Fix which images have no good result yet, and cut them into chunks.

    Where that was fixed when the job was asked for it stays so, whatever was found since.
    """
    database = open_database()
    fixed = fixed_work_list(database, job)
    with database.reading() as connection:
        images = list_images_to_do(
            connection, order.run_id, order.counted_classes, _kept_query(order)
        )
    if fixed is not None:
        known = {image.image_id: image for image in images}
        done = {item: ImageToDo(item, 0, None, None, is_kept=True) for item in fixed}
        images = [known.get(item, done[item]) for item in fixed]
    remove_leftovers(
        polygons_folder(order.run_id), older_than_seconds=_LEFTOVER_SECONDS, now=time.time()
    )
    begin_run(
        database,
        job,
        order.run_id,
        class_mapping=order.class_mapping,
        counted_classes=order.counted_classes,
    )
    if order.device != CPU:
        images.sort(key=lambda image: _seen_shape(image, order))
    chunks = plan_chunks(
        job,
        [image.image_id for image in images],
        [_seconds(image, order) for image in images],
    )
    to_detect = sum(not image.is_kept for image in images)
    return RunPlan(chunks, len(images), to_detect)


def _seen_shape(image: ImageToDo, order: RunOrder) -> tuple[int, int]:
    """Pictures of one shape go through a GPU together; unknown ones come first."""
    if not image.width or not image.height:
        return (0, 0)
    return fit_letterbox(image.width, image.height, order.settings.image_size).shape


def _seconds(image: ImageToDo, order: RunOrder) -> float:
    if image.is_kept:
        return _SECONDS_PER_ANSWER
    seen = order.settings.image_size**2 / 1e6
    return _SECONDS_PER_MEGAPIXEL_SEEN * seen + image.file_size / _BYTES_PER_SECOND


@task(run_name="load model")
def load_run_model(job: JobReference, order: RunOrder) -> str:
    """Load the model once for all chunks; what runs it, in words.

    Raises:
        ModelError: the weights do not exist, changed since they were registered, or do not load.
    """
    read_verified_weights(order.weights_path, order.sha256)  # also where it is loaded already
    runtime = _loaded_model(order).model.runtime
    store_runtime(open_database(), job, order.run_id, runtime)
    return runtime


def _loaded_model(order: RunOrder) -> _LoadedModel:
    key = (order.sha256, order.settings, order.device)
    with _models_lock:
        if key not in _models:
            settings = get_settings()
            while len(_models) >= _MOST_MODELS:
                _models.popitem(last=False)
            model = load_model(
                order.weights_path,
                order.sha256,
                order.settings,
                cache_folder=settings.exports_folder,
                threads=settings.workers,
                device=order.device,
            )
            _models[key] = _LoadedModel(model, ModelTurns(settings.workers))
        _models.move_to_end(key)
        return _models[key]


@task(run_name="chunk {number}")
def infer_chunk(job: JobReference, number: int, order: RunOrder) -> ChunkReport:
    """Find and count objects on the images of a chunk, and store them batch by batch.

    Images whose detections are kept are answered from these.
    """

    def begin(connection: Connection, items: list[UUID]) -> ChunkWork:
        images = load_run_images(connection, order.collection_id, items)
        return _Inferring(order, items, images, list_kept(connection, _kept_query(order), items))

    return work_through(job, number, begin)


class _Inferring(ChunkWork):
    """Takes outcomes of the model, which is at work on the next batch, and kept detections."""

    def __init__(
        self,
        order: RunOrder,
        items: Sequence[UUID],
        images: dict[UUID, RunImage],
        kept: set[UUID],
    ) -> None:
        usual = _ANSWERED_TOGETHER if images.keys() <= kept else _STORED_TOGETHER
        super().__init__(order.batch_size or usual)
        self._order = order
        self._images = images
        self._kept = kept
        self._to_detect = [item for item in items if item in images and item not in kept]
        self._found: Generator[tuple[UUID, ImageOutcome], None, None] | None = None
        self._outcomes: dict[UUID, ImageOutcome] = {}
        self._rows: list[dict[str, Any]] = []
        self._detections: dict[UUID, tuple[dict[str, Any], float]] = {}

    def do(self, items: Sequence[UUID], should_stop: Callable[[], bool]) -> list[bool]:
        """Collect the results of a batch up to the first image without one; write polygons.

        Raises:
            DiskFullError: there is no room for polygons.
            JobTakenOverError: another run has removed detections that were kept.
        """
        self._wait_for(items, should_stop)
        records = self._load_kept([item for item in items if item in self._kept])
        self._rows, self._detections = [], {}
        documents: dict[str, bytes] = {}
        succeeded: list[bool] = []
        for item in items:
            image, outcome = self._images.get(item), self._outcomes.pop(item, None)
            if image is None:
                succeeded.append(True)  # left the collection since, so nothing is to be done
            elif item in records:
                self._rows.append(self._good_row(item, from_record(records[item]), None, documents))
                succeeded.append(True)
            elif item in self._kept:
                raise JobTakenOverError(f"Detections of {image.name} were removed.")
            elif outcome is None:
                break
            elif outcome.detections is not None:
                found, took = outcome.detections, outcome.inference_ms
                self._rows.append(self._good_row(item, found, took, documents))
                self._detections[item] = (to_record(found), took)
                succeeded.append(True)
            else:
                self._rows.append(self._failed_row(image, outcome.error))
                succeeded.append(False)
        write_polygons(self._order.run_id, documents)
        return succeeded

    def store(self, connection: Connection) -> None:
        """Store what was found.

        Raises:
            NotFoundError: the run was removed.
        """
        try:
            require_run(connection, self._order.run_id)
        except NotFoundError:
            # Polygons of this batch: nobody would know of them.
            remove_tree(polygons_folder(self._order.run_id).parent)
            raise
        store_detections(
            connection,
            _kept_query(self._order),
            self._order.settings.floor_confidence,
            self._detections,
        )
        store_results(connection, self._rows)

    def close(self) -> None:
        if self._found is not None:
            self._found.close()

    def _wait_for(self, items: Sequence[UUID], should_stop: Callable[[], bool]) -> None:
        """Take outcomes of the model until those of a batch are there, or it is told to stop."""
        waiting = {item for item in items if item in self._images} - self._kept
        waiting -= self._outcomes.keys()
        if waiting and self._found is None:
            self._found = self._detect(should_stop)
        while waiting and self._found is not None:
            arrived = next(self._found, None)
            if arrived is None:
                break  # told to stop
            item, outcome = arrived
            self._outcomes[item] = outcome
            waiting.discard(item)

    def _detect(
        self, should_stop: Callable[[], bool]
    ) -> Generator[tuple[UUID, ImageOutcome], None, None]:
        loaded = _loaded_model(self._order)
        settings = get_settings()
        batch_size = None
        if self._order.device != CPU:  # on a CPU larger batches cost memory and save nothing
            batch_size = self._order.batch_size or loaded.model.batch_size
            self.batch_size = max(self.batch_size, batch_size)
        outcomes = detect_in_files(
            loaded.model,
            [
                RegisteredContent(image.paths, image.sha256)
                for image in (self._images[item] for item in self._to_detect)
            ],
            threads=1,  # chunks run beside each other, as many as there are workers
            batch_size=batch_size,
            limits=ImageLimits(settings.max_image_pixels, settings.max_image_bytes),
            should_stop=should_stop,
            turns=loaded.turns,
        )
        with closing(outcomes):
            for outcome in outcomes:
                yield self._to_detect[outcome.position], outcome

    def _load_kept(self, items: list[UUID]) -> dict[UUID, dict[str, Any]]:
        if not items:
            return {}
        with open_database().transaction() as connection:
            return load_kept(connection, _kept_query(self._order), items)

    def _good_row(
        self,
        image_id: UUID,
        found: ImageDetections,
        took: float | None,
        documents: dict[str, bytes],
    ) -> dict[str, Any]:
        """The result of an image; its polygons are added to `documents`."""
        order = self._order
        above = filter_by_threshold(found, order.threshold)
        document = polygon_document(above, order.class_names, order.classes, order.threshold)
        name = f"{image_id}.json"
        documents[name] = polygon_document_bytes(document)
        return self._row(image_id) | {
            "live_count": document["live_count"],
            "dead_count": document["dead_count"],
            "class_counts": document["class_counts"],
            "object_count": len(above.detections),
            "doubtful_count": count_doubtful(found, order.threshold),
            "limit_reached": above.limit_reached,
            "polygon_path": f"runs/{order.run_id}/polygons/{name}",
            "settings": order.settings_key,
            "inference_ms": took,
        }

    def _failed_row(self, image: RunImage, error: VisionflowsError | None) -> dict[str, Any]:
        message = storable_text(f"{image.name}: {error}", longest=_LONGEST_MESSAGE)
        code = error.code.value if isinstance(error, ImageError) else "model_failed"
        return self._row(image.image_id) | {"error_code": code, "error_msg": message}

    def _row(self, image_id: UUID) -> dict[str, Any]:
        counts = ("live_count", "dead_count", "class_counts", "object_count", "doubtful_count")
        return {
            "run_id": self._order.run_id,
            "image_id": image_id,
            "counted_classes": self._order.counted_classes,
            "settings": None,
            "error_code": None,
            "error_msg": None,
            "inference_ms": None,
            **dict.fromkeys((*counts, "polygon_path", "limit_reached")),
        }


def polygons_folder(run_id: UUID) -> Path:
    """Where the polygons of a run lie."""
    return get_settings().runs_folder / str(run_id) / "polygons"


def write_polygons(run_id: UUID, documents: dict[str, bytes]) -> None:
    """Write polygon files of a run, each whole or not at all.

    Raises:
        DiskFullError: there is no room for them.
    """
    if not documents:
        return
    write_files(polygons_folder(run_id), documents)


@task(run_name="add up")
def add_up_run(order: RunOrder) -> RunTotals:
    """Sums over what the run has counted; the end of its job stores the same in its row."""
    with open_database().reading() as connection:
        return sum_up_run(connection, order.run_id)


def _kept_query(order: RunOrder) -> KeptQuery:
    return KeptQuery(order.model_id, order.settings_key, order.threshold)
