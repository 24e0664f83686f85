"""Quality of images: what the pixels decide, and what the other images of the project decide."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from storage.database.tables.columns import created_at_field, enum_type

MEASURES = (
    *("sharpness", "focus", "brightness", "contrast", "red_avg", "green_avg", "blue_avg"),
    *("entropy", "clipped_black", "clipped_white", "overall_quality", "uniqueness"),
)
"""Those by which images are sorted, between 0 and 1 but for focus and entropy."""
SORTED_COLUMNS = ("relative_path", "file_size", *MEASURES)


class MeasurementStatus(StrEnum):
    """Where the measurement of one image stands.

    Rows hold only `completed` and `failed`. An image without a row is `pending`, or `processing`
    while its batch is at work; the view `image_quality` derives both, so that a killed run leaves
    no image behind in a state that nobody ends.
    """

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


def _measure() -> Any:  # noqa: ANN401 - SQLModel types its fields so
    return Field(default=None, sa_type=Float(53))


class ImageQualityMetrics(SQLModel, table=True):
    """What the pixels of one content alone decide. tasks/quality/measurements.py has formulas.

    Columns:
        shared_image_id: the content.
        status: completed or failed; an image without a row is pending, or processing while its
            batch is at work, as the view `image_quality` says.
        sharpness: `sharpness_variance` / 500, at most 1; the view `image_quality` takes the
            reference of the last run of the project instead.
        sharpness_variance: variance of the 3x3 Laplacian (4 neighbours) of the 8-bit grey
            picture.
        brightness: mean of all R, G and B values / 255.
        contrast: standard deviation of all R, G and B values / 127.5, at most 1.
        red_avg: mean of R / 255.
        green_avg: mean of G / 255.
        blue_avg: mean of B / 255.
        perceptual_hash: `str(imagehash.phash(ImageOps.exif_transpose(Image.open(path))))`, bit
            for bit; of deeper samples that of the 8-bit picture.
        difference_hash: a second hash of other make; confirms duplicates in projects of 100,000
            images and more.
        low_information: the picture is flat (black, white, one pixel): its hashes mean nothing.
        focus: Laplacian energy over gradient energy of the grey picture reduced to about 640
            pixels; see [focus-calibration.md](focus-calibration.md).
        p1: 1st percentile of grey, 0 to 255.
        p5: 5th percentile.
        p95: 95th percentile.
        p99: 99th percentile.
        clipped_black: share of pixels with grey 0.
        clipped_white: share of pixels with grey 255.
        entropy: of the grey histogram in bits, 0 to 8.
        mode: Pillow's name of the stored pixel layout.
        exif_orientation: 1 to 8, as the file says.
        sample_rule: what decided how samples of more than 8 bits were scaled to 8:
            `declared_bits` or `values`, see [quality-metrics.md](quality-metrics.md); null where
            nothing was scaled.
        sample_low: the sample that became level 0; null where nothing was scaled.
        sample_high: the sample that became level 255; likewise.
        error_code: why it could not be measured, as a word.
        error_message: and as a sentence; at most 500 characters.
        metrics_version: of the formulas: a new one makes the row stale, and the next run
            measures again.
        pillow_version: of the library that read the picture; 13 changed the hash of pictures
            twice as high as wide.
        opencv_version: likewise.
        computed_at: when it was measured.
    """

    __tablename__ = "image_quality_metrics"
    __table_args__ = (
        CheckConstraint(
            "status <> 'completed' OR (sharpness IS NOT NULL AND brightness IS NOT NULL AND "
            "contrast IS NOT NULL AND red_avg IS NOT NULL AND green_avg IS NOT NULL AND "
            "blue_avg IS NOT NULL AND perceptual_hash IS NOT NULL)",
            name="ck_image_quality_metrics_completed_has_values",
        ),
        CheckConstraint(
            "status <> 'failed' OR error_message IS NOT NULL",
            name="ck_image_quality_metrics_failed_has_message",
        ),
        CheckConstraint(
            "char_length(error_message) <= 500",
            name="ck_image_quality_metrics_error_message_length",
        ),
    )

    shared_image_id: UUID = Field(
        foreign_key="shared_images.id", ondelete="CASCADE", primary_key=True
    )
    status: MeasurementStatus = Field(
        sa_type=enum_type(MeasurementStatus, "measurement_status"),
        nullable=False,
    )
    sharpness: float | None = _measure()
    sharpness_variance: float | None = _measure()
    brightness: float | None = _measure()
    contrast: float | None = _measure()
    red_avg: float | None = _measure()
    green_avg: float | None = _measure()
    blue_avg: float | None = _measure()
    perceptual_hash: str | None = Field(default=None, sa_type=Text)
    difference_hash: str | None = Field(default=None, sa_type=Text)
    low_information: bool | None = Field(default=None)
    focus: float | None = _measure()
    p1: int | None = Field(default=None, sa_type=SmallInteger)
    p5: int | None = Field(default=None, sa_type=SmallInteger)
    p95: int | None = Field(default=None, sa_type=SmallInteger)
    p99: int | None = Field(default=None, sa_type=SmallInteger)
    clipped_black: float | None = _measure()
    clipped_white: float | None = _measure()
    entropy: float | None = _measure()
    mode: str | None = Field(default=None, sa_type=Text)
    exif_orientation: int | None = Field(default=None, sa_type=SmallInteger)
    sample_rule: str | None = Field(default=None, sa_type=Text)
    sample_low: float | None = _measure()
    sample_high: float | None = _measure()
    error_code: str | None = Field(default=None, sa_type=Text)
    error_message: str | None = Field(default=None, sa_type=Text)
    metrics_version: int = Field(sa_type=Integer)
    pillow_version: str = Field(sa_type=Text)
    opencv_version: str = Field(sa_type=Text)
    computed_at: datetime = created_at_field()


class ProjectImageQuality(SQLModel, table=True):
    """What the other images of the project decide about one of its images.

    Columns:
        project_image_id: the image.
        uniqueness: smallest Hamming distance to another image of the project, over 64; 1 where
            there is none.
        nearest_image_id: the image at that distance; of several, the first in the order of the
            paths.
        nearest_distance: in bits.
        duplicate_group: number of the group of near-duplicates; null in none.
        overall_quality: 0.35 sharpness + 0.20 (1 - 2 |brightness - 0.5|) + 0.20 contrast + 0.25
            uniqueness, 0 to 1.
        issues: what is wrong, in the order of [quality-metrics.md](quality-metrics.md).
        sharpness_reference: what `sharpness` was divided by.
        compared_hash: the hash that was compared, null for a flat image: a later comparison
            sees what is new.
        computed_at: when that was decided.
    """

    __tablename__ = "project_image_quality"
    __table_args__ = (
        # Without it, deleting a project would look through the whole table once per image.
        Index("ix_project_image_quality_nearest_image_id", "nearest_image_id"),
    )

    project_image_id: UUID = Field(
        foreign_key="project_images.id", ondelete="CASCADE", primary_key=True
    )
    uniqueness: float = Field(sa_type=Float(53))
    nearest_image_id: UUID | None = Field(
        default=None, foreign_key="project_images.id", ondelete="SET NULL"
    )
    nearest_distance: int | None = Field(default=None, sa_type=SmallInteger)
    duplicate_group: int | None = Field(default=None, sa_type=Integer)
    overall_quality: float = Field(sa_type=Float(53))
    issues: list[str] = Field(sa_column=Column(ARRAY(Text()), nullable=False))
    sharpness_reference: float = Field(sa_type=Float(53))
    compared_hash: str | None = Field(default=None, sa_type=Text)
    computed_at: datetime = created_at_field()


class ProjectImageFailure(SQLModel, table=True):
    """A file that cannot be measured (again) although its content has a good measurement.

    That measurement stays. The file is looked at again when it has changed.

    Columns:
        project_image_id: the image.
        file_size: of the file that was tried, in bytes.
        modified_at_ns: its time of change.
        metrics_version: of the formulas that it was to be measured with.
        error_code: why it could not be measured, as a word.
        error_message: and as a sentence; at most 500 characters.
        failed_at: when.
    """

    __tablename__ = "project_image_failures"
    __table_args__ = (
        CheckConstraint(
            "char_length(error_message) <= 500",
            name="ck_project_image_failures_error_message_length",
        ),
    )

    project_image_id: UUID = Field(
        foreign_key="project_images.id", ondelete="CASCADE", primary_key=True
    )
    file_size: int = Field(sa_type=BigInteger)
    modified_at_ns: int = Field(sa_type=BigInteger)
    metrics_version: int = Field(sa_type=Integer)
    error_code: str = Field(sa_type=Text)
    error_message: str = Field(sa_type=Text)
    failed_at: datetime = created_at_field()


def _sorted_index(name: str) -> Index:
    return Index(f"ix_image_listing_{name}", "project_id", "flags", name, "project_image_id")


class ImageListing(SQLModel, table=True):
    """An image of a project as pages list it: all that they filter and sort by, in one row.

    Triggers keep it in step with `project_images`, `image_quality_metrics` and
    `project_image_quality`, whoever writes these; nobody writes it.

    Columns:
        project_image_id: the image.
        project_id: its project.
        flags: what pages filter by, as bits. 1 and 2: 0 measured, 1 unmeasured, 2 failed, 3
            missing. 4: labelled. 8 and 16: 0 no split, 1 train, 2 val, 3 test. From 32 on one bit
            for each issue, in the order of [quality-metrics.md](quality-metrics.md).
        relative_path: below the folder of the project.
        file_size: in bytes.
        duplicate_group: number of the group of near-duplicates; null in none.
        hash: the perceptual hash as a number; null for flat and unmeasured images.
        sharpness: as in `image_quality`, as all measures; null where there is none.
        focus: likewise.
        brightness: likewise.
        contrast: likewise.
        red_avg: likewise.
        green_avg: likewise.
        blue_avg: likewise.
        entropy: likewise.
        clipped_black: likewise.
        clipped_white: likewise.
        overall_quality: likewise.
        uniqueness: likewise.
    """

    __tablename__ = "image_listing"
    __table_args__ = (
        # Each combination of flags has its images in every order, so that whatever the filter
        # leaves a page is merged from the beginnings of a few such lists.
        *(_sorted_index(name) for name in SORTED_COLUMNS),
        Index(
            "ix_image_listing_duplicate_group",
            "project_id",
            "duplicate_group",
            postgresql_where=text("duplicate_group IS NOT NULL"),
        ),
    )

    project_image_id: UUID = Field(
        foreign_key="project_images.id", ondelete="CASCADE", primary_key=True
    )
    project_id: UUID
    flags: int = Field(sa_type=Integer)
    relative_path: str = Field(sa_type=Text(collation="C"))
    file_size: int = Field(sa_type=BigInteger)
    duplicate_group: int | None = Field(default=None, sa_type=Integer)
    hash: int | None = Field(default=None, sa_type=BigInteger)
    sharpness: float | None = _measure()
    focus: float | None = _measure()
    brightness: float | None = _measure()
    contrast: float | None = _measure()
    red_avg: float | None = _measure()
    green_avg: float | None = _measure()
    blue_avg: float | None = _measure()
    entropy: float | None = _measure()
    clipped_black: float | None = _measure()
    clipped_white: float | None = _measure()
    overall_quality: float | None = _measure()
    uniqueness: float | None = _measure()


class ImageListingChange(SQLModel, table=True):
    """A note that images of a project have changed since its quality was counted.

    Triggers add rows; whoever counts takes away those that it has seen.

    Columns:
        id: of the note.
        project_id: the project.
    """

    __tablename__ = "image_listing_changes"
    __table_args__ = (Index("ix_image_listing_changes_project_id", "project_id"),)

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True)
    )
    project_id: UUID = Field(foreign_key="projects.id", ondelete="CASCADE")
