"""Inference: models, what they found on images, and runs, which count it at a threshold."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Float,
    Index,
    Integer,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from storage.database.tables.columns import created_at_field, enum_type, time_field
from storage.database.tables.jobs import JobStatus


class DetectionModel(SQLModel, table=True):
    """Weights that somebody has registered, known by their digest wherever they lie."""

    __tablename__ = "models"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    name: str = Field(sa_type=Text, unique=True)
    weights_path: str = Field(sa_type=Text)
    sha256: str = Field(sa_type=Text, unique=True)
    task: str = Field(sa_type=Text)
    # By class id, without gaps from 0.
    class_names: list[str] = Field(sa_column=Column(ARRAY(Text()), nullable=False))
    format: str = Field(sa_type=Text)
    image_size: int = Field(sa_type=Integer)
    created_at: datetime = created_at_field()
    updated_at: datetime = created_at_field()


class InferenceRun(SQLModel, table=True):
    """A model over a collection at a threshold; its status follows its jobs by a trigger.

    The counts of images are over the whole collection, not over the last job: `total` is its size,
    `processed_count` how many have a good result, `failed_count` how many were tried in vain.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint(
            "collection_id",
            "model_id",
            "threshold_thousandths",
            "image_size",
            name="uq_runs_collection_model_threshold_size",
        ),
        Index("ix_runs_model_id", "model_id"),
        CheckConstraint("threshold >= 0 AND threshold <= 1", name="ck_runs_threshold"),
        CheckConstraint("char_length(error_msg) <= 500", name="ck_runs_error_msg_length"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    collection_id: UUID = Field(foreign_key="collections.id", ondelete="CASCADE")
    model_id: UUID = Field(foreign_key="models.id", ondelete="CASCADE")
    threshold: float = Field(sa_type=Float(53))
    # Thresholds that agree in it are one run.
    threshold_thousandths: int = Field(
        sa_column=Column(
            Integer, Computed("round(threshold * 1000)::int", persisted=True), nullable=False
        )
    )
    image_size: int = Field(sa_type=Integer)
    # From class names to "live" or "dead"; null for the classes of these names.
    class_mapping: dict[str, str] | None = Field(
        default=None, sa_column=Column(JSONB(none_as_null=True))
    )
    status: JobStatus = Field(
        default=JobStatus.PENDING, sa_type=enum_type(JobStatus, "job_status"), nullable=False
    )
    total: int = Field(default=0, sa_type=Integer)
    processed_count: int = Field(default=0, sa_type=Integer)
    failed_count: int = Field(default=0, sa_type=Integer)
    live_mussel_count: int = Field(default=0, sa_type=Integer)
    dead_mussel_count: int = Field(default=0, sa_type=Integer)
    class_counts: dict[str, int] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False)
    )
    runtime: str | None = Field(default=None, sa_type=Text)
    error_msg: str | None = Field(default=None, sa_type=Text)
    started_at: datetime | None = time_field()
    completed_at: datetime | None = time_field()
    created_at: datetime = created_at_field()
    updated_at: datetime = created_at_field()


class ImageResult(SQLModel, table=True):
    """What a run counted on one image, or why it could not."""

    __tablename__ = "image_results"
    __table_args__ = (
        Index("ix_image_results_image_id", "image_id"),
        CheckConstraint("char_length(error_msg) <= 500", name="ck_image_results_error_msg_length"),
        CheckConstraint(
            "error_msg IS NOT NULL OR (live_count IS NOT NULL AND dead_count IS NOT NULL AND "
            "class_counts IS NOT NULL AND polygon_path IS NOT NULL)",
            name="ck_image_results_good_has_values",
        ),
    )

    run_id: UUID = Field(foreign_key="runs.id", ondelete="CASCADE", primary_key=True)
    image_id: UUID = Field(foreign_key="shared_images.id", ondelete="CASCADE", primary_key=True)
    live_count: int | None = Field(default=None, sa_type=Integer)
    dead_count: int | None = Field(default=None, sa_type=Integer)
    class_counts: dict[str, int] | None = Field(
        default=None, sa_column=Column(JSONB(none_as_null=True))
    )
    polygon_path: str | None = Field(default=None, sa_type=Text)
    # Which class ids were counted as live and as dead: with others the row is counted again.
    counted_classes: str = Field(sa_type=Text)
    # Of the detections that it was counted from, see ImageDetections; null for a failure.
    settings: str | None = Field(default=None, sa_type=Text)
    error_code: str | None = Field(default=None, sa_type=Text)
    error_msg: str | None = Field(default=None, sa_type=Text)
    # Null where the result was answered from detections that were kept.
    inference_ms: float | None = Field(default=None, sa_type=Float(53))
    computed_at: datetime = created_at_field()


class ImageDetections(SQLModel, table=True):
    """All that a model found on one content, down to a floor of confidence, with some settings."""

    __tablename__ = "image_detections"
    __table_args__ = (Index("ix_image_detections_image_id", "image_id"),)

    model_id: UUID = Field(foreign_key="models.id", ondelete="CASCADE", primary_key=True)
    image_id: UUID = Field(foreign_key="shared_images.id", ondelete="CASCADE", primary_key=True)
    # Everything but the floor that decides what is found: image size, suppression, precision.
    settings: str = Field(sa_type=Text, primary_key=True)
    floor_confidence: float = Field(sa_type=Float(53))
    width: int = Field(sa_type=Integer)
    height: int = Field(sa_type=Integer)
    limit_reached: bool = Field(sa_type=Boolean)
    # A list of {class_id, confidence, box, polygons}, the most confident first.
    detections: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False))
    inference_ms: float = Field(sa_type=Float(53))
    computed_at: datetime = created_at_field()
