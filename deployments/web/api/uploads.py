"""Uploads: files that are staged and committed together; `upload_files` takes their bytes."""

from __future__ import annotations

import re
from datetime import datetime
from io import BytesIO
from pathlib import PurePosixPath
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Body, File, Form, Path, UploadFile
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from deployments.web.api.jobs import Job
from deployments.web.api.projects import ProjectPath
from deployments.web.dependencies import (
    CursorQuery,
    DatabaseDependency,
    LimitQuery,
    SettingsDependency,
)
from deployments.web.envelope import Answer, Page, answer, decode_cursor, encode_cursor
from deployments.web.errors import problems
from deployments.web.files.staging import complete, stage
from deployments.web.starting import Started, start_flow
from deployments.web.trust import BODY_LIMITS, SMALL_BODY
from flows.ingest_project import job_parameters
from storage.database.connection import Database
from storage.database.tables.jobs import JobKind
from storage.errors import InvalidInputError, JobAtWorkError
from storage.projects.projects import find_project_id
from storage.projects.uploads import (
    UploadFileRecord,
    UploadRecord,
    begin_commit,
    begin_upload,
    discard_upload,
    find_upload,
    give_up_commit,
    list_uploads,
)
from storage.settings import Settings, get_settings
from tasks.images.decoding import read_image_facts
from tasks.labels.annotations import Box, Label, Polygon
from tasks.labels.formats.json_documents.labelme import write_labelme
from tasks.labels.geometry import ImageSize
from tasks.projects.generated.options import GenerationOptions
from tasks.projects.ingest.target_steps import IngestTarget, find_target
from tasks.projects.sources.upload import UploadKind, check_upload_name

Value = TypeVar("Value")
router = APIRouter(tags=["uploads"])

UploadId = Annotated[UUID, Path(description="Id of the upload.")]

BODY_LIMITS[re.compile(r"/api/v1/projects/[^/]+/sync")] = lambda own: (
    min(own.max_image_bytes, own.max_upload_bytes) + own.max_label_bytes + SMALL_BODY
)


class UploadOptions(BaseModel):
    """How an upload becomes part of its project."""

    model_config = ConfigDict(extra="forbid")

    generate: GenerationOptions = Field(
        default_factory=GenerationOptions, description="Copies, tiles and smaller copies to make."
    )
    overwrite: bool = Field(
        False, description="Take its images also in the place of those edited in the project."
    )


class StagedFile(BaseModel):
    """A file of a staged upload."""

    id: UUID = Field(description="Id of the file.")
    name: str = Field(description="Its path in the project.")
    size: int = Field(description="Bytes that were announced.")
    received: int = Field(description="Bytes that have arrived.")
    kind: UploadKind | None = Field(description="What it is; null until all of it has arrived.")

    @classmethod
    def of(cls, record: UploadFileRecord) -> StagedFile:
        """The file of a record."""
        return cls(**{name: getattr(record, name) for name in cls.model_fields})


class StagedUpload(BaseModel):
    """Files that are to become part of a project together."""

    id: UUID = Field(description="Id of the upload.")
    project_id: UUID = Field(description="The project that it is for.")
    is_committing: bool = Field(description="Whether an ingest was started that takes it.")
    created_at: datetime = Field(description="When it was begun.")
    expires_at: datetime = Field(description="When it is pruned, unless something happens to it.")
    files_url: str = Field(description="Where files are sent to by the tus protocol.")
    options: UploadOptions = Field(description="How it becomes part of the project.")
    files: list[StagedFile] = Field(description="Its files by name.")

    @classmethod
    def of(cls, record: UploadRecord) -> StagedUpload:
        """The upload of a record."""
        return cls(
            id=record.id,
            project_id=record.project_id,
            is_committing=record.is_committing,
            created_at=record.created_at,
            expires_at=record.expires_at,
            files_url=f"/api/v1/uploads/{record.id}/files",
            options=UploadOptions.model_validate(record.options),
            files=[StagedFile.of(one) for one in record.files],
        )


class SyncBox(BaseModel):
    """An upright box, normalised: x over the image's width, y over its height."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    center_x: float = Field(ge=0, le=1, description="Centre.")
    center_y: float = Field(ge=0, le=1, description="Centre.")
    width: float = Field(gt=0, le=1, description="Width.")
    height: float = Field(gt=0, le=1, description="Height.")


Coordinate = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Annotation(BaseModel):
    """A labelled object: a box or an outline."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "class_name": "mussel",
                    "box": {"center_x": 0.5, "center_y": 0.5, "width": 0.2, "height": 0.1},
                }
            ]
        },
    )

    class_name: str = Field(min_length=1, max_length=500, description="Its class.")
    box: SyncBox | None = Field(None, description="Its box; or else give `polygon`.")
    polygon: list[tuple[Coordinate, Coordinate]] | None = Field(
        None, min_length=3, max_length=10_000, description="Its outline, normalised."
    )

    def label(self) -> Label:
        """As label files have it.

        Raises:
            InvalidInputError: it has both or neither.
        """
        if (self.box is None) == (self.polygon is None):
            raise InvalidInputError("An annotation has either a box or a polygon.")
        if self.polygon is not None:
            return Label(self.class_name, Polygon(tuple(self.polygon)))
        assert self.box is not None
        return Label(self.class_name, Box(**self.box.model_dump()))


_ANNOTATIONS = TypeAdapter(list[Annotation])
_OPTIONS = TypeAdapter(UploadOptions)


def _json_of(kind: TypeAdapter[Any]) -> dict[str, Any]:
    """How the description says that a form field holds JSON."""
    return {"contentMediaType": "application/json", "contentSchema": kind.json_schema()}


def _parsed(field: str, kind: TypeAdapter[Value], content: str | None) -> Value | None:
    if content is None:
        return None
    try:
        return kind.validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (field, *first["loc"]))
        raise InvalidInputError(f"{place}: {first['msg']}.") from None


@router.post("/projects/{project}/upload-temp", status_code=201, responses=problems(404))
def stage_upload(
    database: DatabaseDependency,
    project: ProjectPath,
    options: Annotated[UploadOptions | None, Body()] = None,
) -> Answer[StagedUpload]:
    """Begin a staged upload: many files, or one ZIP file. Nothing becomes part of the project yet.

    Send each file to `files_url` by the tus protocol, then commit or discard the upload.
    """
    project_id, chosen = find_project_id(database, project), options or UploadOptions()
    _target(database, project_id, chosen)
    upload = begin_upload(database, project_id, chosen.model_dump(mode="json"))
    return answer(StagedUpload.of(upload), "Send the files to files_url.")


@router.get("/projects/{project}/uploads", responses=problems(404))
def list_staged_uploads(
    database: DatabaseDependency,
    project: ProjectPath,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> Answer[Page[StagedUpload]]:
    """List the staged uploads of a project, oldest first."""
    after = decode_cursor(cursor, tuple[datetime, UUID])
    found = list_uploads(database, find_project_id(database, project), after=after, limit=limit + 1)
    shown = found[:limit]
    following = None
    if len(found) > limit:
        following = encode_cursor([shown[-1].created_at.isoformat(), shown[-1].id])
    items = [StagedUpload.of(one) for one in shown]
    return answer(Page[StagedUpload](items=items, next=following))


@router.get("/uploads/{upload_id}", responses=problems(404))
def show_upload(database: DatabaseDependency, upload_id: UploadId) -> Answer[StagedUpload]:
    """Show a staged upload and how much of its files has arrived."""
    return answer(StagedUpload.of(find_upload(database, upload_id)))


@router.delete("/uploads/{upload_id}", responses=problems(404, 409))
def discard(database: DatabaseDependency, upload_id: UploadId) -> Answer[None]:
    """Discard a staged upload with all its files."""
    discard_upload(database, upload_id)
    return answer(None, "The upload is discarded.")


@router.post("/uploads/{upload_id}/commit", status_code=202, responses=problems(404, 409))
def commit(
    database: DatabaseDependency, settings: SettingsDependency, upload_id: UploadId
) -> Answer[Job]:
    """Have all files of an upload become part of its project, or none, by ingest-project.

    The upload ends with the ingest; where the ingest fails, it stays as it is.
    """
    return _committed(database, settings, upload_id)


def _committed(database: Database, settings: Settings, upload_id: UUID) -> Answer[Job]:
    for file in find_upload(database, upload_id).files:
        complete(database, file)
    upload = begin_commit(database, upload_id)
    options = UploadOptions.model_validate(upload.options)
    target = _target(database, upload.project_id, options, upload)
    try:
        started = _start(database, settings, upload, options, target)
    except BaseException:
        give_up_commit(database, upload_id)
        raise
    if started.job.parameters.get("source") != str(target.source):
        give_up_commit(database, upload_id)
        raise JobAtWorkError(
            f"Job {started.job.id} (ingest-project) is at work on the project; commit the upload "
            "again when it has ended."
        )
    return answer(Job.of(started.job), f"{len(upload.files)} files are being ingested.")


def _start(
    database: Database,
    settings: Settings,
    upload: UploadRecord,
    options: UploadOptions,
    target: IngestTarget,
) -> Started:
    return start_flow(
        database,
        settings,
        "ingest-project",
        {
            "source": str(target.source),
            "project": str(upload.project_id),
            "generate": options.generate.model_dump(mode="json"),
            "overwrite": options.overwrite,
        },
        kind=JobKind.INGEST_PROJECT,
        subject=str(upload.project_id),
        job_parameters=job_parameters(target),
    )


def _target(
    database: Database,
    project_id: UUID,
    options: UploadOptions,
    upload: UploadRecord | None = None,
) -> IngestTarget:
    """What the ingest is for; an error where the project takes no files from here."""
    key, generate = str(project_id), options.generate
    target = find_target(
        database, None if upload is None else upload.source, key, copies=True, generate=generate
    )
    if not target.path.is_relative_to(get_settings().projects_folder):
        raise InvalidInputError(
            f"The images of project {target.name!r} lie in {target.path}, which visionflows does "
            "not write to; upload into a project of another name."
        )
    return target


@router.post("/projects/{project}/sync", status_code=202, responses=problems(404, 409))
def sync(
    database: DatabaseDependency,
    settings: SettingsDependency,
    project: ProjectPath,
    image: Annotated[UploadFile, File(description="The image file.")],
    name: Annotated[
        str,
        Form(max_length=2000, description="Its path in the project, such as `bay/one.jpg`."),
    ],
    annotations: Annotated[
        str | None,
        Form(
            description="JSON: its labels; [] for a background picture, left out for none.",
            json_schema_extra=_json_of(_ANNOTATIONS),
        ),
    ] = None,
    options: Annotated[
        str | None,
        Form(
            description="JSON: what is generated from it, and whether it is written over.",
            json_schema_extra=_json_of(_OPTIONS),
        ),
    ] = None,
) -> Answer[Job]:
    """Bring one image with its annotations into a project: an upload and its commit in one."""
    project_id = find_project_id(database, project)
    chosen = _parsed("options", _OPTIONS, options) or UploadOptions()
    labels = _parsed("annotations", _ANNOTATIONS, annotations)
    _target(database, project_id, chosen)
    if check_upload_name(name) is not UploadKind.IMAGE:
        raise InvalidInputError(f"{name} is not the name of an image.")
    upload = begin_upload(database, project_id, chosen.model_dump(mode="json"))
    try:
        staged = stage(database, settings, upload.id, name, image.size or 0, image.file)
        if labels is not None:
            facts = read_image_facts(staged.path)
            content = write_labelme(
                [one.label() for one in labels],
                image=PurePosixPath(name),
                image_size=ImageSize(facts.width, facts.height),
            )
            label_name = str(PurePosixPath(name).with_suffix(".json"))
            stage(database, settings, upload.id, label_name, len(content), BytesIO(content))
        return _committed(database, settings, upload.id)
    except BaseException:
        discard_upload(database, upload.id)
        raise
