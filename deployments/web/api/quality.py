"""The quality of a project: measuring it as a job, and what was found."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from deployments.web.api.projects import ProjectPath
from deployments.web.dependencies import (
    CursorQuery,
    DatabaseDependency,
    LimitQuery,
    SettingsDependency,
)
from deployments.web.envelope import Answer, Page, answer, decode_cursor, encode_cursor
from deployments.web.errors import problems
from deployments.web.recent import Recent
from deployments.web.starting import cancel, end_jobs_whose_run_is_gone, start_flow
from flows.quality_metrics import job_parameters
from storage.database.connection import Database
from storage.database.tables.jobs import JobKind, JobStatus
from storage.jobs.records import JobRecord, close_if_interrupted, newest_job
from storage.projects.duplicate_groups import last_duplicate_group, list_duplicate_groups
from storage.projects.projects import find_project_id
from storage.projects.quality_overview import load_quality_counts, load_quality_failures
from storage.settings import Settings
from tasks.quality.steps import fix_measurements

router = APIRouter(prefix="/projects/{project}", tags=["quality"])

_MOST_FAILURES = 50
_progress = Recent(seconds=0.5)


class QualityStatus(StrEnum):
    """Where the newest quality job of a project stands."""

    IDLE = "idle"
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StartedQualityJob(BaseModel):
    """The job that a start has made, or found at work."""

    job_id: UUID = Field(description="Id of the job.")
    total_images: int = Field(description="Images that it measures; never changes.")
    status: QualityStatus = Field(description="Where it stands.")
    message: str = Field(description="Whether it was started, or is the one at work.")


class QualityProgress(BaseModel):
    """How far the newest quality job of a project is."""

    job_id: UUID | None = Field(description="Id of the job; null where there never was one.")
    total: int = Field(description="Images that it measures.")
    processed: int = Field(description="Images measured.")
    failed: int = Field(description="Images that could not be measured.")
    remaining: int = Field(description="Images not yet done.")
    status: QualityStatus = Field(description="Where it stands; idle where there never was one.")
    progress_pct: float = Field(description="Share that is done, failures included, in percent.")
    started_at: datetime | None = Field(description="When a worker began it.")

    @classmethod
    def of(cls, job: JobRecord | None) -> QualityProgress:
        """The progress of the newest job of a project, None where there never was one."""
        return cls(
            job_id=None if job is None else job.id,
            total=0 if job is None else job.total or 0,
            processed=0 if job is None else job.processed,
            failed=0 if job is None else job.failed,
            remaining=0 if job is None else job.remaining or 0,
            status=QualityStatus.IDLE if job is None else _status(job),
            progress_pct=0.0 if job is None else job.progress_pct,
            started_at=None if job is None else job.started_at,
        )


class CancelledQualityJob(BaseModel):
    """Whether there was anything to cancel."""

    cancelled: bool = Field(description="Whether a job was active.")
    message: str = Field(description="What happens now.")


class FailedImage(BaseModel):
    """An image that could not be measured."""

    relative_path: str = Field(description="Its path below the folder of the project.")
    reason: str = Field(description="Why.")


class QualitySummary(BaseModel):
    """The quality of a project at a glance."""

    images: int = Field(description="Present images of the project.")
    completed: int = Field(description="Those that are measured.")
    failed: int = Field(description="Those that could not be measured.")
    mean_overall_quality: float | None = Field(description="Mean of overall quality, 0 to 1.")
    issues: dict[str, int] = Field(description="How many images have each issue.")
    duplicate_group_count: int = Field(description="Groups of near-duplicates.")
    kept_count: int = Field(
        description="Images that keep an earlier measurement because their file failed since."
    )
    failures: list[FailedImage] = Field(description="The first 50 that could not be measured.")


class QualityHistograms(BaseModel):
    """How the measures of a project are distributed."""

    histograms: dict[str, list[int]] = Field(
        description="For each measure ten counts of images, of 0..0.1, 0.1..0.2, ... 0.9..1."
    )


class GroupedImage(BaseModel):
    """One image of a group."""

    id: UUID = Field(description="Id of the image in the project.")
    relative_path: str = Field(description="Its path below the folder of the project.")
    split: str | None = Field(description="train, val or test; null where none is named.")
    sha256: str = Field(description="Of its content.")
    distance: int | None = Field(
        description="Bits of 64 by which its hash differs from that of its nearest image."
    )


class DuplicateGroup(BaseModel):
    """Images that are nearly the same."""

    number: int = Field(description="Number of the group in the project, from 1.")
    splits: list[str] = Field(description="The splits that its images are in.")
    images: list[GroupedImage] = Field(description="Its images by path.")


@router.post("/analytics/start-quality-job", responses=problems(404))
def start_quality_job(
    database: DatabaseDependency,
    settings: SettingsDependency,
    project: ProjectPath,
    batch_size: Annotated[
        int, Query(ge=1, le=200, description="Images stored at a time; progress moves by batches.")
    ] = 50,
    force: Annotated[bool, Query(description="Measure all images again.")] = False,
) -> Answer[StartedQualityJob]:
    """Measure the images of a project that are not measured yet; a job at work is the answer."""
    project_id = find_project_id(database, project)
    started = start_flow(
        database,
        settings,
        "quality-metrics",
        {"project": str(project_id), "batch_size": batch_size, "force": force},
        kind=JobKind.QUALITY_METRICS,
        subject=str(project_id),
        job_parameters=job_parameters(batch_size, force=force),
        fix_work=lambda connection, job_id: fix_measurements(
            connection, job_id, project_id, force=force
        ),
    )
    _progress.forget()
    job = started.job
    message = (
        f"Quality job started for {job.total or 0} images."
        if started.is_new
        else "A quality job is at work on this project already."
    )
    return answer(
        StartedQualityJob(
            job_id=job.id, total_images=job.total or 0, status=_status(job), message=message
        ),
        message,
    )


@router.get(
    "/analytics/quality-progress",
    response_model=Answer[QualityProgress],
    responses=problems(404),
)
async def quality_progress(
    database: DatabaseDependency, settings: SettingsDependency, project: ProjectPath
) -> Response:
    """How far the newest quality job of a project is; made to be asked every two seconds."""

    def look() -> bytes:
        job = newest_quality_job(database, settings, str(find_project_id(database, project)))
        message = "" if job is None else job.error_message or ""
        return answer(QualityProgress.of(job), message).model_dump_json().encode()

    content = await _progress.get((settings.home, project), look)
    return Response(content, media_type="application/json")


@router.post("/analytics/cancel-quality-job", responses=problems(404))
def cancel_quality_job(
    database: DatabaseDependency, settings: SettingsDependency, project: ProjectPath
) -> Answer[CancelledQualityJob]:
    """Cancel the active quality job of a project; what is measured stays."""
    job = newest_quality_job(database, settings, str(find_project_id(database, project)))
    if job is None or not job.status.is_active:
        message = "No quality job is active."
        return answer(CancelledQualityJob(cancelled=False, message=message), message)
    job = cancel(database, settings, job.id)
    _progress.forget()
    message = (
        "The job ends within a batch; what is measured stays."
        if job.status.is_active
        else f"The job is {_status(job).value}."
    )
    return answer(CancelledQualityJob(cancelled=True, message=message), message)


@router.get("/quality/summary", responses=problems(404))
def quality_summary(database: DatabaseDependency, project: ProjectPath) -> Answer[QualitySummary]:
    """The quality of a project at a glance."""
    project_id = find_project_id(database, project)
    counts = load_quality_counts(database, project_id)
    failures = load_quality_failures(database, project_id, most_rows=_MOST_FAILURES)
    return answer(
        QualitySummary(
            images=counts.images,
            completed=counts.completed,
            failed=counts.failed,
            mean_overall_quality=counts.mean_overall_quality,
            issues=counts.issues,
            duplicate_group_count=counts.duplicate_group_count,
            kept_count=failures.kept_count,
            failures=[
                FailedImage(relative_path=path, reason=reason) for path, reason in failures.failures
            ],
        )
    )


@router.get("/quality/histograms", responses=problems(404))
def quality_histograms(
    database: DatabaseDependency, project: ProjectPath
) -> Answer[QualityHistograms]:
    """How the measures of a project are distributed."""
    counts = load_quality_counts(database, find_project_id(database, project))
    return answer(QualityHistograms(histograms=counts.histograms))


@router.get("/quality/duplicate-groups", responses=problems(404))
def duplicate_groups(
    database: DatabaseDependency,
    project: ProjectPath,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> Answer[Page[DuplicateGroup]]:
    """List the groups of near-duplicates of a project."""
    (after,) = decode_cursor(cursor, tuple[GroupNumber]) or (0,)
    project_id = find_project_id(database, project)
    last = last_duplicate_group(database, project_id)
    groups = [
        DuplicateGroup(
            number=group.number,
            splits=group.splits,
            images=[GroupedImage(**vars(image)) for image in group.images],
        )
        for group in list_duplicate_groups(database, project_id, after=after, limit=limit)
    ]
    following = encode_cursor([after + limit]) if after + limit < last else None
    return answer(Page[DuplicateGroup](items=groups, next=following, total=last))


GroupNumber = Annotated[int, Field(ge=0, lt=1 << 30)]


def newest_quality_job(database: Database, settings: Settings, subject: str) -> JobRecord | None:
    """The newest quality job, closed where its process or its flow run is gone."""
    kind = JobKind.QUALITY_METRICS
    job = newest_job(database, kind, subject)
    if job is None:
        return None
    if job.is_interrupted:
        close_if_interrupted(database, kind, subject)
        return newest_job(database, kind, subject)
    if end_jobs_whose_run_is_gone(database, settings, [job]):
        return newest_job(database, kind, subject)
    return job


def _status(job: JobRecord) -> QualityStatus:
    if job.status is JobStatus.COMPLETED_WITH_ERRORS:
        return QualityStatus.COMPLETED
    return QualityStatus(job.status.value)
