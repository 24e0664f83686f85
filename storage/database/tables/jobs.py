"""Jobs: what a flow has to do for one subject, and how far it is. See storage/jobs.py."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    Text,
    Uuid,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from storage.database.tables.columns import created_at_field, enum_type, time_field


class JobKind(StrEnum):
    """The flow that a job belongs to; its subject is named behind it."""

    INGEST_PROJECT = "ingest-project"
    CREATE_RELEASE = "create-release"
    RELEASE_STATS = "build-release-stats"
    SESSION_STATS = "compute-session-stats"
    QUALITY_METRICS = "quality-metrics"
    COLLECTION_INFERENCE = "collection-inference"
    TRAINING_SET = "prepare-training-set"
    COMPARE_RUNS = "compare-runs"
    EVALUATE_RUN = "evaluate-run"


class JobStatus(StrEnum):
    """Where a job stands. `pending` and `processing` are active, the others final."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_active(self) -> bool:
        """Whether the job is not finished."""
        return self in (JobStatus.PENDING, JobStatus.PROCESSING)


class JobChunkState(StrEnum):
    """Where a chunk of a job's work list stands."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"


ACTIVE_JOB = text("status IN ('pending', 'processing')")


class Job(SQLModel, table=True):
    """One run of a flow over one subject (a project, release, session or run).

    Columns:
        id: of the job.
        kind: the flow.
        subject: what it is about: id of a project, run or release, root of sessions, or the
            like.
        status: pending, processing, completed, completed_with_errors, failed or cancelled.
        total: items of the work list, fixed when the job is planned or before; null until then.
        processed: items done; a sum over the chunks.
        failed: items that could not be done; likewise.
        flow_run_id: of Prefect.
        fencing_token: proves whose the job is; writes with another one are refused.
        error_message: why it failed; at most 500 characters.
        parameters: of the flow.
        result: what the flow has returned.
        cancel_requested: somebody asked for it to be cancelled.
        heartbeat_at: when its holder was last heard of.
        started_at: when it was begun.
        completed_at: when it ended, however.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        # One active job per kind and subject, whoever starts it and however often.
        Index(
            "uq_jobs_active_kind_subject",
            "kind",
            "subject",
            unique=True,
            postgresql_where=ACTIVE_JOB,
        ),
        Index("ix_jobs_created_at", "created_at"),
        CheckConstraint(
            "processed >= 0 AND failed >= 0 AND processed + failed <= total",
            name="ck_jobs_progress_within_total",
        ),
        CheckConstraint(
            "total IS NOT NULL OR status IN ('pending', 'failed', 'cancelled')",
            name="ck_jobs_total_is_known",
        ),
        CheckConstraint("char_length(error_message) <= 500", name="ck_jobs_error_message_length"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    kind: JobKind = Field(
        sa_type=enum_type(JobKind, "job_kind"),
        nullable=False,
    )
    subject: str = Field(sa_type=Text)
    status: JobStatus = Field(
        default=JobStatus.PENDING,
        sa_type=enum_type(JobStatus, "job_status"),
        nullable=False,
    )
    total: int | None = Field(default=None, sa_type=Integer)
    processed: int = Field(default=0, sa_type=Integer)
    failed: int = Field(default=0, sa_type=Integer)
    flow_run_id: UUID | None = Field(default=None)
    fencing_token: int = Field(default=1, sa_type=Integer)
    error_message: str | None = Field(default=None, sa_type=Text)
    parameters: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False)
    )
    result: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    cancel_requested: bool = Field(
        default=False, sa_type=Boolean, sa_column_kwargs={"server_default": false()}
    )
    heartbeat_at: datetime | None = time_field()
    started_at: datetime | None = time_field()
    completed_at: datetime | None = time_field()
    created_at: datetime = created_at_field()
    updated_at: datetime = created_at_field()


class JobChunk(SQLModel, table=True):
    """A part of a job's work list, done by one task in order.

    `position` says how many of `items` are done: the next attempt goes on there.

    Columns:
        job_id: the job.
        number: of the chunk in it, from 0.
        items: ids of its part of the work list, in order.
        state: pending, processing or completed.
        attempt: how many tasks have begun it.
        position: how many of `items` are done: the next attempt goes on there.
        processed: how many of these went well.
        failed: how many did not.
    """

    __tablename__ = "job_chunks"
    __table_args__ = (
        CheckConstraint(
            "processed + failed = position AND position <= cardinality(items)",
            name="ck_job_chunks_progress",
        ),
    )

    job_id: UUID = Field(foreign_key="jobs.id", ondelete="CASCADE", primary_key=True)
    number: int = Field(sa_type=Integer, primary_key=True)
    items: list[UUID] = Field(sa_column=Column(ARRAY(Uuid()), nullable=False))
    state: JobChunkState = Field(
        default=JobChunkState.PENDING,
        sa_type=enum_type(JobChunkState, "job_chunk_state"),
        nullable=False,
    )
    attempt: int = Field(default=0, sa_type=Integer)
    position: int = Field(default=0, sa_type=Integer)
    processed: int = Field(default=0, sa_type=Integer)
    failed: int = Field(default=0, sa_type=Integer)
    updated_at: datetime = created_at_field()
