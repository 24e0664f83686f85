"""What a run has found: its images, their polygons, counts at any threshold, exports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from deployments.web.api.runs import RunPath
from deployments.web.dependencies import (
    CursorQuery,
    DatabaseDependency,
    LimitQuery,
    SettingsDependency,
)
from deployments.web.envelope import Answer, Page, answer, decode_cursor, encode_cursor
from deployments.web.errors import problems
from storage.errors import NotFoundError
from storage.inference.kept_counts import load_kept_counts
from storage.inference.results import RunResult
from storage.inference.run_images import RunImageSort, find_run_image, list_run_images
from storage.inference.runs import find_run
from tasks.inference.detection.detection_records import from_record
from tasks.inference.detection.thresholds import filter_by_threshold
from tasks.inference.exports.files import ExportFormat
from tasks.inference.exports.steps import order_export, write_run
from tasks.inference.exports.threshold_curve import STEPS, count_curves
from tasks.inference.runs.live_dead import live_dead_classes
from tasks.inference.runs.polygon_document import polygon_document

router = APIRouter(prefix="/runs/{run}", tags=["runs"])

_BLOCK = 1 << 18
_MEDIA_TYPES = {".csv": "text/csv", ".json": "application/json", ".zip": "application/zip"}
Outline = list[tuple[float, float]]
Threshold = Annotated[float | None, Query(ge=0, le=1)]
Position = Annotated[int, Field(ge=0, lt=2**31)]


class RunImage(BaseModel):
    """What a run has counted on an image, or why it could not."""

    image_id: UUID = Field(description="Id of the content.")
    name: str = Field(description="Name of the image in the collection.")
    sha256: str = Field(description="Digest of the file.")
    width: int | None = Field(description="Of the displayed picture in pixels.")
    height: int | None = Field(description="Likewise.")
    live_count: int | None = Field(description="Objects that count as live; null if it failed.")
    dead_count: int | None = Field(description="Objects that count as dead.")
    class_counts: dict[str, int] | None = Field(description="Objects by class.")
    object_count: int | None = Field(description="All objects; null if it failed.")
    doubtful_count: int | None = Field(
        description="Objects, and some that do not count, within 0.1 of the run's threshold."
    )
    limit_reached: bool | None = Field(description="There may be more objects than are counted.")
    error_code: str | None = Field(description="Why it failed, as a word.")
    error_msg: str | None = Field(description="And as a sentence.")
    inference_ms: float | None = Field(
        description="Milliseconds of the model; null where what is kept has answered."
    )
    computed_at: datetime = Field(description="When it was counted.")

    @classmethod
    def of(cls, result: RunResult) -> RunImage:
        """The image of a result."""
        return cls(**vars(result))


class FoundObject(BaseModel):
    """An object that was found."""

    coords: Outline = Field(
        description="Its outline in pixels, [x, y]: of a mask the largest part, of a box 4 corners."
    )
    confidence: float = Field(description="0 to 1.")
    class_: str = Field(alias="class", description="Name of its class.")
    bbox: tuple[float, float, float, float] = Field(description="Left, top, right, bottom.")
    other_parts: list[Outline] = Field(default=[], description="Further parts of a mask.")
    holes: list[Outline] = Field(default=[], description="Holes of a mask.")


class Polygons(BaseModel):
    """All that was found on an image above a threshold, as in the files under `polygons/`."""

    polygons: list[FoundObject] = Field(description="The objects, the most confident first.")
    live_count: int = Field(description="How many count as live.")
    dead_count: int = Field(description="How many count as dead.")
    class_counts: dict[str, int] = Field(description="How many there are by class.")
    threshold: float = Field(description="They are more confident than this.")
    image_width: int = Field(description="Of the displayed picture in pixels.")
    image_height: int = Field(description="Likewise.")
    limit_reached: bool = Field(description="There may be more objects.")


class ThresholdCurve(BaseModel):
    """What a run counts, and would count at other thresholds."""

    thresholds: list[float] = Field(description="0, 0.001, ... 1: so many as each list of counts.")
    classes: dict[str, list[int]] = Field(
        description="For each class its objects on all images, at each of the thresholds."
    )
    live: list[int] = Field(description="Likewise, those that count as live.")
    dead: list[int] = Field(description="Likewise, those that count as dead.")
    floor_confidence: float | None = Field(
        description="Nothing less confident is kept: below it the counts are those at it. Null "
        "where nothing is kept."
    )
    image_count: int = Field(description="Images that are counted; those that failed are not.")


@router.get("/images", responses=problems(404))
def list_images_of_run(
    database: DatabaseDependency,
    run: RunPath,
    failed: Annotated[
        bool | None, Query(description="Only those that failed, or only those that did not.")
    ] = None,
    sort: Annotated[
        RunImageSort,
        Query(description="Place in the collection, objects, or those near the threshold."),
    ] = RunImageSort.POSITION,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> Answer[Page[RunImage]]:
    """List the images that a run has a result on; sorted by a count, the largest come first."""
    found_run = find_run(database, run)
    found = list_run_images(
        database,
        found_run.id,
        sort=sort,
        after=decode_cursor(cursor, tuple[Position, UUID]),
        limit=limit + 1,
        failed=failed,
    )
    following = encode_cursor(list(found[limit - 1][0])) if len(found) > limit else None
    items = [RunImage.of(result) for _, result in found[:limit]]
    return answer(Page[RunImage](items=items, next=following))


@router.get("/images/{image_id}/polygons", responses=problems(404))
def show_polygons(
    database: DatabaseDependency,
    run: RunPath,
    image_id: Annotated[UUID, Path(description="Id of the content.")],
    threshold: Annotated[
        Threshold, Query(description="Left out, that of the run; 0 gives all that is kept.")
    ] = None,
) -> Answer[Polygons]:
    """Show what was found on an image."""
    found_run = find_run(database, run)
    result, record = find_run_image(database, found_run.id, image_id)
    if record is None:
        raise NotFoundError(
            f"Nothing is kept of {result.name}: "
            f"{result.error_msg or 'what was found on it was removed; start the run again.'}"
        )
    chosen = found_run.threshold if threshold is None else threshold
    document = polygon_document(
        filter_by_threshold(from_record(record), chosen),
        found_run.class_names,
        live_dead_classes(found_run.class_names, found_run.class_mapping),
        chosen,
    )
    return answer(Polygons(**document))


@router.get("/curve", responses=problems(404))
def show_threshold_curve(database: DatabaseDependency, run: RunPath) -> Answer[ThresholdCurve]:
    """Count the objects of each class at every threshold, from what is kept of the run."""
    found_run = find_run(database, run)
    kept = load_kept_counts(database, found_run.id)
    names = found_run.class_names
    curves = count_curves(kept.counts, names, live_dead_classes(names, found_run.class_mapping))
    return answer(
        ThresholdCurve(
            thresholds=[step / (STEPS - 1) for step in range(STEPS)],
            **asdict(curves),
            floor_confidence=kept.floor_confidence,
            image_count=kept.images,
        )
    )


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file: CSV, JSON, or a ZIP archive of label files.",
            "content": {kind: {} for kind in _MEDIA_TYPES.values()},
        },
        **problems(404),
    },
)
def export_one_run(
    database: DatabaseDependency,
    settings: SettingsDependency,
    run: RunPath,
    format_: Annotated[
        ExportFormat,
        Query(alias="format", description="Counts of each image, labels, or predictions."),
    ],
    threshold: Annotated[
        Threshold, Query(description="Left out, that of the run; not below what is kept.")
    ] = None,
) -> StreamingResponse:
    """Download what a run has found, in the formats that other programs read."""
    found = find_run(database, run)
    order = order_export(database, found, format_, threshold)
    # On the disk first: an error is an answer then, and no slow reader holds a transaction open.
    # The file has no name, so that nothing stays of it whatever happens.
    settings.home.mkdir(parents=True, exist_ok=True)
    file = TemporaryFile(dir=settings.home)  # noqa: SIM115 - closed when it was sent
    try:
        write_run(database, found, order, file)
        length = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    suffix = order.format.suffix
    name = f"run-{str(found.id)[:8]}-{order.format.value}{suffix}"
    return StreamingResponse(
        _blocks(file),
        media_type=_MEDIA_TYPES[suffix],
        headers={
            "Content-Length": str(length),
            "Content-Disposition": f'attachment; filename="{name}"',
        },
    )


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        yield from iter(partial(file.read, _BLOCK), b"")
