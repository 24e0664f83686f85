"""Writing a run into a file: checking what is asked for, and its results in their order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO
from uuid import UUID

from sqlalchemy import Connection

from storage.database.connection import Database
from storage.errors import InvalidInputError
from storage.files import atomic_file
from storage.inference.kept_counts import floor_of_run
from storage.inference.models import find_model
from storage.inference.results import read_names, read_results
from storage.inference.runs import RunRecord
from tasks.inference.detection.detection_records import from_record
from tasks.inference.detection.thresholds import rounded_threshold
from tasks.inference.detections import Task
from tasks.inference.exports.files import (
    ExportedImage,
    ExportFormat,
    ExportOrder,
    ExportSums,
    check_classes,
    write_export,
)
from tasks.inference.runs.live_dead import live_dead_classes


def order_export(
    database: Database, run: RunRecord, wanted: ExportFormat, threshold: float | None = None
) -> ExportOrder:
    """Check what is asked for; without a `threshold` it is that of the run.

    Raises:
        InvalidInputError: detections down to the threshold are not kept, or two classes have one
            name.
        NotFoundError: the model was removed right now.
    """
    chosen = run.threshold if threshold is None else rounded_threshold(threshold)
    with database.reading() as connection:
        floor, _ = floor_of_run(connection, run.id)
    if floor is not None and chosen < floor:
        raise InvalidInputError(
            f"Detections of the run {str(run.id)[:8]} are kept down to a confidence of {floor:g}; "
            "give a higher threshold."
        )
    if wanted is not ExportFormat.CSV:
        check_classes(run.class_names)
    model = find_model(database, str(run.model_id))
    return ExportOrder(
        format=wanted,
        threshold=chosen,
        model=model.name,
        task=Task(model.task),
        class_names=run.class_names,
        classes=live_dead_classes(run.class_names, run.class_mapping),
    )


def write_run(
    database: Database, run: RunRecord, order: ExportOrder, file: IO[bytes]
) -> ExportSums:
    """Write the results of a run into an open file, all as they are at one moment.

    Raises:
        InvalidInputError: the format cannot hold a label.
    """
    with database.reading() as connection:
        names = partial(read_names, connection, run.id)
        return write_export(file, order, _images(connection, run.id), names)


def export_run(
    database: Database, run: RunRecord, order: ExportOrder, path: Path, *, overwrite: bool = False
) -> ExportSums:
    """Write a run to a path, whole or not at all.

    Raises:
        InvalidInputError: there is something at the path and `overwrite` is not given, its suffix
            is not that of the format, or the format cannot hold a label.
    """
    if path.suffix.lower() != order.format.suffix:
        raise InvalidInputError(
            f"{path} is no place for {order.format.value}: its name must end in "
            f"{order.format.suffix}."
        )
    if path.is_dir():
        raise InvalidInputError(f"{path} is a folder; name a file in it.")
    _require_free(path, overwrite)
    with atomic_file(path) as temporary:
        with temporary.open("wb") as file:
            sums = write_run(database, run, order, file)
        # Somebody may have put something there meanwhile.
        _require_free(path, overwrite)
    return sums


def _require_free(path: Path, overwrite: bool) -> None:
    if not overwrite and (path.exists() or path.is_symlink()):
        raise InvalidInputError(
            f"There is a file {path} already; choose another path, or give --overwrite."
        )


def _images(connection: Connection, run_id: UUID) -> Iterator[ExportedImage]:
    for results in read_results(connection, run_id):
        for result, record in results:
            own = str(result.image_id), result.name, result.sha256
            if record is None:
                lost = "what was found on it is kept no more; run the model again"
                yield ExportedImage(*own, None, result.error_msg or lost)
            else:
                yield ExportedImage(*own, from_record(record))
