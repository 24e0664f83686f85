"""The steps of evaluate-run: gather labels and detections, evaluate, store, snapshot, report."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pyarrow as pa
from sqlalchemy import Connection

from storage.database.connection import Database, open_database
from storage.errors import InvalidInputError
from storage.inference.evaluations import (
    EvaluationRecord,
    ImageRow,
    LabelledImage,
    count_run_images,
    evaluation_id,
    find_evaluation,
    list_evaluated_images,
    load_mistakes,
    projects_of_run,
    read_labelled_images,
    store_evaluation,
)
from storage.inference.models import find_model
from storage.inference.runs import RunRecord
from storage.jobs.counted import JobCount
from storage.jobs.locks import JobReference
from storage.projects.projects import find_project
from storage.snapshots import SnapshotSubject
from tasks.images.folder_scan import scan_image_folder
from tasks.inference.detection.detection_records import from_record
from tasks.inference.detections import Task
from tasks.inference.evaluation.comparison import compare_counts
from tasks.inference.evaluation.evaluation import MATCHES_SCHEMA, Found, evaluate, match_rows
from tasks.inference.evaluation.objects import Objects
from tasks.inference.evaluation.report import evaluation_report
from tasks.inference.evaluation.truth import Gathered, pair_classes
from tasks.labels.annotations import ImageLabels
from tasks.labels.folder_labels import read_folder_labels
from tasks.labels.geometry import ImageSize, image_size_of
from tasks.labels.limit_steps import dataset_limits_of_memory
from tasks.reports.keys import artifact_key
from tasks.reports.steps import publish_report
from tasks.running.decorators import task
from tasks.snapshots import keep_snapshot

BACKGROUND, LEFT_OUT = "background", "left out"
_ROWS = 10_000


@dataclass(frozen=True)
class EvaluationOrder:
    """What is evaluated: a run, its classes by those of labels, and images without labels."""

    run: RunRecord
    class_mapping: dict[str, str]
    unlabelled: str

    @property
    def id(self) -> UUID:
        """The same for the same order."""
        return evaluation_id(self.run.id, self.class_mapping, self.unlabelled)


@dataclass(frozen=True, eq=False)
class _Truth:
    """What the label files of some projects say, by project and path, and their class names."""

    labels: dict[tuple[UUID, str], ImageLabels]
    class_names: set[str]


@task(run_name="evaluate")
def evaluate_images(job: JobReference, order: EvaluationOrder) -> str:
    """Evaluate a run on the images that have labels; store it, write a snapshot; its path.

    Raises:
        InvalidInputError: no image of it has labels, or no class of the model is one of labels.
        JobCancelledError: the job was cancelled.
    """
    database = open_database()
    count = JobCount(database, job)
    run = order.run
    with database.reading() as connection:
        count.begin(count_run_images(connection, run.id))
        projects = projects_of_run(connection, run.id)
        truth = _read_truth(database, projects, count)
        task_of_model = Task(find_model(database, str(run.model_id)).task)
        if not truth.class_names:
            raise _without_labels(run)
        pairing = pair_classes(run.class_names, truth.class_names, order.class_mapping)
        if not pairing.names:
            raise InvalidInputError(
                f"No class of {run.model} ({', '.join(run.class_names)}) is a class of the labels "
                f"({', '.join(sorted(truth.class_names))}); name pairs with --class MODEL=LABEL."
            )
        gathered = Gathered(pairing, task_of_model)
        images, about = _gather(connection, order, truth, gathered, count)
    if not images:
        raise _without_labels(run)
    labels, detections = gathered.labels.objects(), gathered.detections.objects()
    found = evaluate(
        labels,
        detections,
        len(images),
        pairing.names,
        threshold=run.threshold,
        floor=about.pop("floor"),
        limit=run.max_detections,
    )
    figures = {
        **found.figures,
        **about,
        "backgrounds": int((found.labelled == 0).sum()),
        "task": task_of_model.value,
        "model_classes_without_partner": {
            name: gathered.detections_without_class[name] for name in pairing.only_model
        },
        "label_classes_without_partner": dict(gathered.labels_without_class),
    }
    names = [(str(one.image_id), one.name) for one in images]

    def matches() -> Iterator[pa.RecordBatch]:
        return _batches(match_rows(labels, detections, found, pairing.names, names))

    snapshot = keep_snapshot(
        SnapshotSubject("evaluations", "evaluation", order.id),
        MATCHES_SCHEMA,
        matches,
        _digest(matches()),
        "evaluate-run",
        job.id,
        run=str(run.id),
        threshold=str(run.threshold),
    )
    store_evaluation(
        database,
        job,
        order.id,
        run.id,
        order.class_mapping,
        order.unlabelled,
        figures=figures,
        curves=found.curves,
        mistakes=_mistakes(found, labels, detections, images, truth, pairing.names),
        images=_image_rows(found, labels, detections, images),
    )
    count.end()
    return snapshot


def _without_labels(run: RunRecord) -> InvalidInputError:
    return InvalidInputError(
        f"No image of {run.collection} that the run {str(run.id)[:8]} has done has labels in a "
        "project; `visionflows run ingest-project` brings them in."
    )


def _read_truth(database: Database, projects: Sequence[UUID], count: JobCount) -> _Truth:
    """Read the label files of the projects."""
    labels: dict[tuple[UUID, str], ImageLabels] = {}
    class_names: set[str] = set()
    for project_id in projects:
        project = find_project(database, str(project_id))
        sizes = {
            row[0]: image_size_of(row[1], row[2])
            for row in database.rows(
                "SELECT i.relative_path, s.width, s.height FROM project_images i "
                "JOIN shared_images s ON s.id = i.shared_image_id WHERE i.project_id = :id",
                id=project_id,
            )
        }
        count.show()
        dataset = read_folder_labels(
            project.path,
            scan_image_folder(project.path),
            partial(_size_in, sizes),
            dataset_limits_of_memory(),
        )
        class_names.update(dataset.class_names.values())
        for image in dataset.images:
            if image.labels is not None:
                labels[project_id, image.path.as_posix()] = image.labels
    return _Truth(labels, class_names)


def _size_in(sizes: Mapping[str, ImageSize | None], path: PurePosixPath) -> ImageSize | None:
    return sizes.get(path.as_posix())


def _gather(
    connection: Connection,
    order: EvaluationOrder,
    truth: _Truth,
    gathered: Gathered,
    count: JobCount,
) -> tuple[list[LabelledImage], dict[str, Any]]:
    """Labels and detections of all images that are evaluated, and what is said of the others."""
    images: list[LabelledImage] = []
    about: Counter[str] = Counter(unlabelled=0, unusable=0, limit_reached=0, several_places=0)
    floor, done = 0.0, 0
    for batch in read_labelled_images(connection, order.run.id):
        count.show(done)
        done += len(batch)
        for image in batch:
            own = truth.labels.get((image.project_id, image.relative_path))
            if own is None and image.label_path is None:
                about["unlabelled"] += 1
                if order.unlabelled == LEFT_OUT:
                    continue
            elif own is None or not own.is_usable:
                about["unusable"] += 1
                continue
            found = from_record(image.record)
            labels = [] if own is None else list(own.labels)
            about["limit_reached"] += found.limit_reached
            about["several_places"] += image.places > 1
            floor = max(floor, float(image.record["floor_confidence"]))
            gathered.add_labels(len(images), labels, found.width, found.height)
            gathered.add_detections(len(images), found, order.run.class_names)
            images.append(_without_record(image))
    return images, {**about, "of_run": order.run.processed_count, "floor": floor}


def _without_record(image: LabelledImage) -> LabelledImage:
    values = {**vars(image), "record": {}}
    return LabelledImage(**values)


def _image_rows(
    found: Found, labels: Objects, detections: Objects, images: Sequence[LabelledImage]
) -> list[ImageRow]:
    cells: list[set[int]] = [set() for _ in images]
    for objects, own in (
        (detections, found.confusion.cells_of_detections),
        (labels, found.confusion.cells_of_labels),
    ):
        for number, cell in zip(objects.image.tolist(), own.tolist(), strict=True):
            if cell >= 0:
                cells[number].add(cell)
    return [
        ImageRow(
            image.position,
            image.image_id,
            image.project_image_id,
            image.name,
            int(found.labelled[number]),
            int(found.counted[number]),
            int(found.right[number]),
            sorted(cells[number]),
            float(found.scores.image[number]),
        )
        for number, image in enumerate(images)
    ]


def _mistakes(
    found: Found,
    labels: Objects,
    detections: Objects,
    images: Sequence[LabelledImage],
    truth: _Truth,
    class_names: Sequence[str],
) -> list[dict[str, Any]]:
    told = []
    for one in found.mistakes:
        image = images[one.image]
        source = truth.labels.get((image.project_id, image.relative_path))
        row: dict[str, Any] = {
            "kind": one.kind.value,
            "score": one.score,
            "image_id": str(image.image_id),
            "project_image_id": str(image.project_image_id),
            "image": image.name,
            "label_file": None if source is None else source.source.as_posix(),
            "line": None,
            "label": None,
            "detection": None,
        }
        if one.label is not None:
            row["line"] = int(labels.line[one.label]) or None
            row["label"] = {
                "class": class_names[int(labels.class_id[one.label])],
                "box": labels.boxes[one.label].round(2).tolist(),
            }
        if one.detection is not None:
            row["detection"] = {
                "class": class_names[int(detections.class_id[one.detection])],
                "box": detections.boxes[one.detection].round(2).tolist(),
                "confidence": float(detections.confidence[one.detection]),
            }
        told.append(row)
    return told


def _digest(batches: Iterable[pa.RecordBatch]) -> str:
    """The same text for the same rows."""
    digest = hashlib.blake2b(digest_size=16)
    for batch in batches:
        digest.update(batch.serialize())
    return digest.hexdigest()


def _batches(rows: Iterator[Mapping[str, Any]]) -> Iterator[pa.RecordBatch]:
    while batch := list(islice(rows, _ROWS)):
        yield pa.RecordBatch.from_pylist(batch, schema=MATCHES_SCHEMA)


@task(run_name="publish report")
def publish_evaluation(order: EvaluationOrder, snapshot: str) -> str:
    """Show an evaluation in Prefect, and keep it as a page; the page's path."""
    database = open_database()
    return publish_report(
        evaluation_report(database_values(database, order.id), snapshot),
        "evaluate-run",
        order.id,
        key=artifact_key(
            "evaluation", f"{order.run.model} on {order.run.collection}", str(order.id)
        ),
    )


def database_values(database: Database, evaluation: UUID, most: int = 20) -> dict[str, Any]:
    """An evaluation with its first mistakes, for its report."""
    found = find_evaluation(database, str(evaluation))
    mistakes = load_mistakes(database, evaluation)
    return {**vars(found), "mistakes": mistakes[:most], "mistake_count": len(mistakes)}


def compare_evaluations(
    database: Database, first: EvaluationRecord, second: EvaluationRecord
) -> dict[str, Any]:
    """Compare two evaluations on the images that both have, as JSON values.

    Raises:
        InvalidInputError: they have no image in common.
    """
    known = {row.image_id: row for row in list_evaluated_images(database, second.id)}
    ours = list_evaluated_images(database, first.id)
    pairs = [(row, known[row.image_id]) for row in ours if row.image_id in known]
    if not pairs:
        raise InvalidInputError(
            f"The evaluations {str(first.id)[:8]} and {str(second.id)[:8]} have no image in common."
        )
    return {
        "first": _told(first),
        "second": _told(second),
        "images": len(pairs),
        "rows": compare_counts(*(list(map(_counts, side)) for side in zip(*pairs, strict=True))),
    }


def _counts(row: ImageRow) -> tuple[int, int, int]:
    return row.labelled, row.counted, row.right_count


def _told(one: EvaluationRecord) -> dict[str, Any]:
    names = ("id", "run_id", "collection", "model", "threshold")
    return {name: getattr(one, name) for name in names}
