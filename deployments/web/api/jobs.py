"""Jobs of every flow: list, show, cancel."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from deployments.web.dependencies import (
    CursorQuery,
    DatabaseDependency,
    LimitQuery,
    SettingsDependency,
)
from deployments.web.envelope import Answer, Page, answer, decode_cursor, encode_cursor
from deployments.web.errors import problems
from deployments.web.starting import cancel, end_jobs_whose_run_is_gone
from storage.database.tables.jobs import JobKind, JobStatus
from storage.jobs.records import JobRecord, find_job, list_jobs
from storage.projects.projects import find_project_id

router = APIRouter(prefix="/jobs", tags=["jobs"])

JobPath = Annotated[UUID, Path(description="Id of the job.")]


class Job(BaseModel):
    """One run of a flow over one subject, and how far it is."""

    id: UUID = Field(description="Id of the job.")
    kind: JobKind = Field(description="The flow.")
    subject: str = Field(
        description="What it is about: id of a project, run or release, root of sessions, or so."
    )
    status: JobStatus = Field(description="Where it stands; pending and processing are active.")
    total: int | None = Field(
        description="Items of its work list, fixed once it is at work; null while not known."
    )
    processed: int = Field(description="Items done.")
    failed: int = Field(description="Items that could not be done.")
    remaining: int | None = Field(description="Items not yet done; null while not known.")
    progress_pct: float = Field(description="Share that is done, failures included, in percent.")
    flow_run_id: UUID | None = Field(description="Its flow run at Prefect's server.")
    error_message: str | None = Field(description="Why it failed.")
    parameters: dict[str, Any] = Field(description="Parameters of the flow.")
    result: dict[str, Any] | None = Field(description="What the flow has returned.")
    cancel_requested: bool = Field(description="Somebody has asked for it to be cancelled.")
    is_waiting: bool = Field(description="It waits for a worker to take it up.")
    is_interrupted: bool = Field(
        description="Its process has died; starting the flow again does the rest."
    )
    heartbeat_at: datetime | None = Field(description="When its process was last heard of.")
    started_at: datetime | None = Field(description="When its flow run began.")
    completed_at: datetime | None = Field(description="When it ended, however.")
    created_at: datetime = Field(description="When it was asked for.")

    @classmethod
    def of(cls, record: JobRecord) -> Job:
        """The job of a record."""
        return cls(
            **{name: value for name, value in asdict(record).items() if name != "is_held"},
            remaining=record.remaining,
            progress_pct=record.progress_pct,
            is_waiting=record.is_waiting,
            is_interrupted=record.is_interrupted,
        )


@router.get("", responses=problems(404))
def list_all_jobs(
    database: DatabaseDependency,
    settings: SettingsDependency,
    kind: Annotated[JobKind | None, Query(description="Only jobs of this flow.")] = None,
    project: Annotated[
        str | None, Query(max_length=4000, description="Only jobs of this project (name or id).")
    ] = None,
    active: Annotated[bool, Query(description="Only pending and processing ones.")] = False,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> Answer[Page[Job]]:
    """List jobs, the newest first."""
    before = decode_cursor(cursor, tuple[datetime, UUID])
    subject = None if project is None else str(find_project_id(database, project))

    def look() -> list[JobRecord]:
        return list_jobs(
            database, kind=kind, subject=subject, active_only=active, limit=limit + 1, before=before
        )

    records = look()
    if end_jobs_whose_run_is_gone(database, settings, records):
        records = look()
    page = records[:limit]
    last = page[-1] if len(records) > limit else None
    following = None if last is None else encode_cursor([last.created_at.isoformat(), last.id])
    return answer(Page[Job](items=[Job.of(record) for record in page], next=following))


@router.get("/{job_id}", responses=problems(404))
def show_job(
    database: DatabaseDependency, settings: SettingsDependency, job_id: JobPath
) -> Answer[Job]:
    """Show one job."""
    record = find_job(database, job_id)
    if end_jobs_whose_run_is_gone(database, settings, [record]):
        record = find_job(database, job_id)
    return answer(Job.of(record))


@router.post("/{job_id}/cancel", responses=problems(404))
def cancel_job(
    database: DatabaseDependency, settings: SettingsDependency, job_id: JobPath
) -> Answer[Job]:
    """Cancel a job: it ends within a batch, and what is done stays; one that has ended stays so."""
    job = cancel(database, settings, job_id)
    said = "It ends within a batch." if job.status.is_active else f"It is {job.status.value}."
    return answer(Job.of(job), said)
