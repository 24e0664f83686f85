"""Releases: create, list, show, recount, download, remove."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query
from fastapi.responses import FileResponse
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
from deployments.web.files.picture_answers import add_picture_routes
from deployments.web.files.pictures import PictureFile, picture_in_archive
from deployments.web.files.ranged_file import RangedFile
from deployments.web.removal import Removal, planned_removal, remove_thing
from deployments.web.starting import start_flow
from storage.database.tables.jobs import JobKind
from storage.database.tables.releases import ReleaseStatsStatus
from storage.database.tables.removals import RemovalNoun
from storage.errors import NotFoundError
from storage.files.places import ObjectPath
from storage.projects.image_listings import count_images
from storage.projects.projects import find_project
from storage.records import ReleaseStatsSource
from storage.releases import (
    ReleaseRecord,
    choose_archive_path,
    describe_release,
    find_release,
    list_releases,
)
from tasks.labels.limit_steps import dataset_limits
from tasks.releases.dataset.problem_pictures import find_picture
from tasks.trainer.splitting import SplitRatios

router = APIRouter(prefix="/releases", tags=["releases"])

ReleasePath = Annotated[str, Path(max_length=4000, description="Name or id of the release.")]
Share = Annotated[float, Field(ge=0, le=1)]


class Release(BaseModel):
    """An archive to train from, with the counts of its newest statistics."""

    id: UUID = Field(description="Id of the release.")
    name: str = Field(description="What people call it; unique.")
    project_id: UUID | None = Field(description="The project that it was made of.")
    project: str | None = Field(description="Name of that project.")
    model_path: str = Field(description="Its ZIP archive on the server.")
    train_image_count: int | None = Field(description="Images to train with; null if uncounted.")
    val_image_count: int | None = Field(description="Images to validate with.")
    test_image_count: int | None = Field(description="Images to test with.")
    class_count: int | None = Field(description="How many classes it has.")
    stats_status: ReleaseStatsStatus = Field(
        description="Of its statistics; failed and stale keep the ones before."
    )
    stats_source: ReleaseStatsSource | None = Field(
        description="Told by the archive's own metadata, or counted in its members."
    )
    stats_error: str | None = Field(description="Why they could not be computed.")
    archive_size: int | None = Field(description="Bytes of the archive that they are of.")
    archive_modified_at: datetime | None = Field(description="When that archive was written.")
    stats_computed_at: datetime | None = Field(description="When they were computed.")
    created_at: datetime = Field(description="When the release was registered.")

    @classmethod
    def of(cls, record: ReleaseRecord) -> Release:
        """The release of a record."""
        return cls(**{**vars(record), "model_path": str(record.model_path)})


class ReleaseProblem(BaseModel):
    """Something wrong in an archive."""

    code: str = Field(description="What it is, as docs/reference/problems.md lists it.")
    member: str | None = Field(
        default=None, description="The member of the archive; null for the archive as a whole."
    )
    line: int | None = Field(default=None, description="The line in it.")
    detail: str = Field(default="", description="What exactly.")
    count: int = Field(default=1, description="How often.")


class ReleaseDetails(Release):
    """A release with all of its statistics; these are null before they are computed."""

    split_counts: dict[str, int] | None = Field(
        description="Images of train, val, test, and of no split."
    )
    classes_json: list[str] | None = Field(description="Names of the classes, by their number.")
    shapes_json: dict[str, Any] | None = Field(
        description="Objects by class and geometry, sizes of images, and more of its shape."
    )
    problems: list[ReleaseProblem] | None = Field(description="What is wrong in it.")


class NewRelease(BaseModel):
    """A project that is to be written as an archive."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"project": "mussels", "name": "mussels-2026-05"}]},
    )

    project: str = Field(min_length=1, max_length=4000, description="Name or id of the project.")
    name: str = Field(
        min_length=1,
        max_length=150,
        description="Name of the release; one of that name that was made here is written anew.",
    )
    task: Literal["detect", "segment", "obb", "pose"] = Field(
        default="detect", description="What it trains; other labels are turned into such."
    )
    output: str = Field(
        default="",
        max_length=4000,
        description="Path of the archive inside the data roots; left out, under the home folder.",
    )
    unsplit: Literal["divide", "train"] = Field(
        default="divide", description="What becomes of images without a split."
    )
    train: Share | None = Field(
        default=None, description="Share of these for training; left out, the rest."
    )
    val: Share = Field(default=0.2, description="Share of these for validation.")
    test: Share = Field(default=0.0, description="Share of these for testing.")
    seed: int = Field(
        default=0, ge=-(2**63), lt=2**63, description="Another seed divides differently."
    )
    with_unlabelled: bool = Field(
        default=False, description="Take images without a label file along, as backgrounds."
    )


class Recount(BaseModel):
    """How statistics are computed again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"force": True}]})

    force: bool = Field(default=False, description="Also where the archive has not changed.")
    verify: bool = Field(
        default=False, description="Count the members also where the archive tells its figures."
    )


@router.get("", responses=problems(404))
def list_all_releases(
    database: DatabaseDependency,
    project: Annotated[
        str | None, Query(max_length=4000, description="Only of this project (name or id).")
    ] = None,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> Answer[Page[Release]]:
    """List the registered releases by name."""
    after = decode_cursor(cursor, tuple[str])
    found = list_releases(
        database,
        project_id=None if project is None else find_project(database, project).id,
        after=None if after is None else after[0],
        limit=limit + 1,
    )
    following = encode_cursor([found[limit - 1].name]) if len(found) > limit else None
    items = [Release.of(record) for record in found[:limit]]
    return answer(Page[Release](items=items, next=following))


@router.post("", status_code=202, responses=problems(404))
def create_release(
    database: DatabaseDependency, settings: SettingsDependency, body: NewRelease
) -> Answer[Job]:
    """Have a project written as an archive, and its statistics computed when that is done.

    The answer comes at once; the result of its job has the id of the release.
    """
    project = find_project(database, body.project)
    path = choose_archive_path(database, body.name, body.output, for_deployment=True)
    SplitRatios.of_shares(body.train, body.val, body.test)
    started = start_flow(
        database,
        settings,
        "create-release",
        {**body.model_dump(), "project": str(project.id)},
        kind=JobKind.CREATE_RELEASE,
        subject=body.name,
        job_parameters={
            "project": str(project.id),
            "task": body.task,
            "output": str(path),
            "unsplit": body.unsplit,
            "ratios": [body.train, body.val, body.test],
            "seed": body.seed,
            "with_unlabelled": body.with_unlabelled,
        },
        fix_work=lambda connection, _: count_images(connection, project.id),
    )
    said = "It is being written." if started.is_new else "A release of this name is being written."
    return answer(Job.of(started.job), said)


@router.get("/{release}", responses=problems(404))
def show_release(database: DatabaseDependency, release: ReleasePath) -> Answer[ReleaseDetails]:
    """Show a release with its statistics."""
    found = describe_release(database, find_release(database, release))
    found["problems"] = found.pop("problems_json")
    return answer(ReleaseDetails(**{**found, "model_path": str(found["model_path"])}))


@router.post("/{release}/recount", status_code=202, responses=problems(404))
def recount_release(
    database: DatabaseDependency,
    settings: SettingsDependency,
    release: ReleasePath,
    body: Recount | None = None,
) -> Answer[Job]:
    """Have the statistics of a release computed again; those there are stay until then."""
    found, wanted = find_release(database, release), (body or Recount()).model_dump()
    started = start_flow(
        database,
        settings,
        "build-release-stats",
        {"release": str(found.id), **wanted},
        kind=JobKind.RELEASE_STATS,
        subject=str(found.id),
        job_parameters=wanted,
    )
    return answer(
        Job.of(started.job), "It is counted." if started.is_new else "It is being counted already."
    )


@router.get(
    "/{release}/download",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/zip": {}}, "description": "The archive."},
        206: {"content": {"application/zip": {}}, "description": "The range asked for."},
        **problems(404, 416),
    },
)
def download_release(database: DatabaseDependency, release: ReleasePath) -> RangedFile:
    """Download the archive of a release, or a range of it."""
    found = find_release(database, release)
    if isinstance(found.model_path, ObjectPath):
        raise NotFoundError(f"{found.model_path} is in a bucket; download it from there.")
    return RangedFile(
        found.model_path, media_type="application/zip", filename=found.model_path.name
    )


def _picture(
    database: DatabaseDependency,
    release: ReleasePath,
    member: Annotated[int, Path(ge=0, lt=1 << 31, description="Its number in the archive.")],
) -> PictureFile:
    found = find_release(database, release)
    picture = find_picture(found.model_path, member, dataset_limits())
    if picture is None:
        raise NotFoundError(f"Member {member} of the release {found.name} is no image.")
    return picture_in_archive(found.model_path, picture)


add_picture_routes(router, "/{release}/members/{member}", _picture, name="member_")


@router.get("/{release}/removal", responses=problems(404))
def plan_release_removal(database: DatabaseDependency, release: ReleasePath) -> Answer[Removal]:
    """Say what would go with a release; nothing is changed."""
    return answer(planned_removal(database, RemovalNoun.RELEASE, release))


@router.delete("/{release}", responses=problems(404, 409))
def remove_release(database: DatabaseDependency, release: ReleasePath) -> Answer[Removal]:
    """Remove a release: its row, statistics and pages, and its archive if it was made here."""
    removal = remove_thing(database, RemovalNoun.RELEASE, release)
    return answer(removal, f"The release {removal.name} is removed.")
