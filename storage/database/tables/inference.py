"""Inference: models, what they found on images, runs that count it, and how good they are."""

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
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from storage.database.tables.columns import created_at_field, enum_type, time_field
from storage.database.tables.jobs import JobStatus


class DetectionModel(SQLModel, table=True):
    """Weights that somebody has registered, known by their digest wherever they lie.

    Columns:
        id: of the model.
        name: unique.
        weights_path: of the file or folder, absolute.
        sha256: of the weights; unique: they are known by it wherever they lie.
        task: detect, segment or obb.
        class_names: by class id, without gaps from 0.
        format: of the weights: pt, onnx or openvino.
        image_size: in pixels, that it was trained or exported for.
    """

    __tablename__ = "models"

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    name: str = Field(sa_type=Text, unique=True)
    weights_path: str = Field(sa_type=Text)
    sha256: str = Field(sa_type=Text, unique=True)
    task: str = Field(sa_type=Text)
    class_names: list[str] = Field(sa_column=Column(ARRAY(Text()), nullable=False))
    format: str = Field(sa_type=Text)
    image_size: int = Field(sa_type=Integer)
    created_at: datetime = created_at_field()
    updated_at: datetime = created_at_field()


class InferenceRun(SQLModel, table=True):
    """A model over a collection at a threshold; its status follows its jobs by a trigger.

    Its counts are sums over its results on images that are in the collection, not over the last
    job. The database's function `run_totals` makes them, when a job begins, when it ends, and when
    the images of the collection change; between these a trigger moves the counts of images.

    Columns:
        id: of the run.
        collection_id: what it looks at.
        model_id: with what.
        threshold: smallest confidence that counts, 0 to 1.
        threshold_thousandths: thresholds that agree in it are one run.
        image_size: in pixels, that pictures are brought to.
        max_detections: so many objects of an image are counted, the most confident ones.
        class_mapping: from class names to "live" or "dead"; null for the classes of these
            names.
        status: of its newest job, by a trigger.
        total: images of the collection that the run has done or planned; those that came
            later are not among them until its next start.
        processed_count: how many have a good result.
        failed_count: how many were tried in vain.
        live_mussel_count: sum over the images.
        dead_mussel_count: likewise.
        class_counts: objects by class name, likewise.
        kept_counts: how many of its kept detections count at which threshold; null where that has
            not been counted since its results or its images have changed.
        runtime: what has executed the model.
        error_msg: why the newest job failed; at most 500 characters.
        started_at: when the newest job began.
        completed_at: when it ended.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint(
            "collection_id",
            "model_id",
            "threshold_thousandths",
            "image_size",
            "max_detections",
            name="uq_runs_collection_model_threshold_size_limit",
        ),
        Index("ix_runs_model_id", "model_id"),
        CheckConstraint("threshold >= 0 AND threshold <= 1", name="ck_runs_threshold"),
        CheckConstraint("char_length(error_msg) <= 500", name="ck_runs_error_msg_length"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    collection_id: UUID = Field(foreign_key="collections.id", ondelete="CASCADE")
    model_id: UUID = Field(foreign_key="models.id", ondelete="CASCADE")
    threshold: float = Field(sa_type=Float(53))
    threshold_thousandths: int = Field(
        sa_column=Column(
            Integer, Computed("round(threshold * 1000)::int", persisted=True), nullable=False
        )
    )
    image_size: int = Field(sa_type=Integer)
    max_detections: int = Field(sa_type=Integer)
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
    kept_counts: dict[str, Any] | None = Field(
        default=None, sa_column=Column(JSONB(none_as_null=True))
    )
    runtime: str | None = Field(default=None, sa_type=Text)
    error_msg: str | None = Field(default=None, sa_type=Text)
    started_at: datetime | None = time_field()
    completed_at: datetime | None = time_field()
    created_at: datetime = created_at_field()
    updated_at: datetime = created_at_field()


class ImageResult(SQLModel, table=True):
    """What a run counted on one image, or why it could not.

    Columns:
        run_id: the run.
        image_id: the content.
        live_count: objects counted as live.
        dead_count: objects counted as dead.
        class_counts: objects by class name.
        polygon_path: of the file with the outlines.
        object_count: all objects, whatever their class.
        doubtful_count: objects whose confidence is within 0.1 of the run's threshold, also those
            below it that do not count.
        limit_reached: there may be more objects: `max_detections` of the run cut some off.
        counted_classes: which class ids were counted as live and as dead: with others the row
            is counted again.
        settings: of the detections that it was counted from; null for a failure.
        error_code: why it has no result, as a word.
        error_msg: and as a sentence; at most 500 characters.
        inference_ms: milliseconds of the model; null where kept detections have answered.
        computed_at: when.
    """

    __tablename__ = "image_results"
    __table_args__ = (
        Index("ix_image_results_image_id", "image_id"),
        Index("ix_image_results_failed", "run_id", postgresql_where=text("error_msg IS NOT NULL")),
        Index("ix_image_results_objects", "run_id", "object_count", "image_id"),
        Index("ix_image_results_doubtful", "run_id", "doubtful_count", "image_id"),
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
    object_count: int | None = Field(default=None, sa_type=Integer)
    doubtful_count: int | None = Field(default=None, sa_type=Integer)
    polygon_path: str | None = Field(default=None, sa_type=Text)
    limit_reached: bool | None = Field(default=None, sa_type=Boolean)
    counted_classes: str = Field(sa_type=Text)
    settings: str | None = Field(default=None, sa_type=Text)
    error_code: str | None = Field(default=None, sa_type=Text)
    error_msg: str | None = Field(default=None, sa_type=Text)
    inference_ms: float | None = Field(default=None, sa_type=Float(53))
    computed_at: datetime = created_at_field()


class ImageDetections(SQLModel, table=True):
    """All that a model found on one content, down to a floor of confidence, with some settings.

    Columns:
        model_id: the model.
        image_id: the content.
        settings: everything but the floor that decides what is found: image size, suppression,
            precision.
        floor_confidence: smallest confidence that was kept.
        width: of the displayed picture in pixels.
        height: likewise.
        limit_reached: there may be more: the limit of objects an image was reached.
        detections: a list of class_id, confidence, box and polygons, the most confident first.
        inference_ms: milliseconds of the model.
        computed_at: when.
    """

    __tablename__ = "image_detections"
    __table_args__ = (Index("ix_image_detections_image_id", "image_id"),)

    model_id: UUID = Field(foreign_key="models.id", ondelete="CASCADE", primary_key=True)
    image_id: UUID = Field(foreign_key="shared_images.id", ondelete="CASCADE", primary_key=True)
    settings: str = Field(sa_type=Text, primary_key=True)
    floor_confidence: float = Field(sa_type=Float(53))
    width: int = Field(sa_type=Integer)
    height: int = Field(sa_type=Integer)
    limit_reached: bool = Field(sa_type=Boolean)
    detections: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False))
    inference_ms: float = Field(sa_type=Float(53))
    computed_at: datetime = created_at_field()


class Evaluation(SQLModel, table=True):
    """A run against the labels of its images; one per run, class mapping and `unlabelled`.

    Columns:
        id: of the evaluation; the same for the same run and choices.
        run_id: what was evaluated.
        class_mapping: names of labels by the name of a class of the model, where they differ.
        unlabelled: images without a label file: left out, or background.
        figures: everything that is one figure: standard figures, best thresholds, count errors,
            the matrix, what was left out.
        curves: precision, recall, F1 and count errors at the thousandths, by class.
        mistakes: labels that are probably wrong, the likeliest first.
    """

    __tablename__ = "evaluations"
    __table_args__ = (
        Index("ix_evaluations_run_id", "run_id"),
        CheckConstraint(
            "unlabelled IN ('left out', 'background')", name="ck_evaluations_unlabelled"
        ),
    )

    id: UUID = Field(primary_key=True)
    run_id: UUID = Field(foreign_key="runs.id", ondelete="CASCADE")
    class_mapping: dict[str, str] = Field(sa_column=Column(JSONB, nullable=False))
    unlabelled: str = Field(sa_type=Text)
    figures: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    curves: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    mistakes: list[dict[str, Any]] = Field(sa_column=Column(JSONB, nullable=False))
    created_at: datetime = created_at_field()
    updated_at: datetime = created_at_field()


class EvaluatedImage(SQLModel, table=True):
    """One image of an evaluation, at the threshold of the run.

    Columns:
        evaluation_id: the evaluation.
        position: in the collection of the run.
        image_id: the content.
        project_image_id: the image whose labels are the truth.
        name: in the collection.
        labelled: objects that are labelled.
        counted: objects that the run counts.
        right_count: of these, objects of a label of their class.
        cells: of the matrix that the image has something in: class of the label times (classes
            + 1) plus class of the detection; the number behind the last class is the background.
        label_score: 0 to 1, low where its labels are probably wrong.
    """

    __tablename__ = "evaluated_images"
    __table_args__ = (
        Index("ix_evaluated_images_image_id", "image_id"),
        Index("ix_evaluated_images_project_image_id", "project_image_id"),
    )

    evaluation_id: UUID = Field(foreign_key="evaluations.id", ondelete="CASCADE", primary_key=True)
    position: int = Field(sa_type=Integer, primary_key=True)
    image_id: UUID = Field(foreign_key="shared_images.id", ondelete="CASCADE")
    project_image_id: UUID = Field(foreign_key="project_images.id", ondelete="CASCADE")
    name: str = Field(sa_type=Text)
    labelled: int = Field(sa_type=Integer)
    counted: int = Field(sa_type=Integer)
    right_count: int = Field(sa_type=Integer)
    cells: list[int] = Field(sa_column=Column(ARRAY(Integer()), nullable=False))
    label_score: float = Field(sa_type=Float(53))
