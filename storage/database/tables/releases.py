"""Releases: ZIP archives that hold a dataset, and what is in them. See storage/releases.py."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from storage.database.tables.columns import created_at_field, enum_type, time_field
from storage.records import ReleaseStatsSource


class ReleaseStatsStatus(StrEnum):
    """Where the statistics of a release stand.

    While they are computed the row says what it said before; the job tells that it is at work.
    """

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    STALE = "stale"


class Release(SQLModel, table=True):
    """One archive, with the newest statistics that could be computed.

    Columns:
        id: of the release.
        project_id: the project that it was made from; an archive outlives it.
        name: unique.
        model_path: of the archive, absolute; unique.
        train_image_count: images for training; those of no split are in `shapes_json`.
        val_image_count: likewise for validation (`valid`, `validation`).
        test_image_count: images for testing.
        class_count: declared classes; the used ones where none is declared.
        classes_json: their names in the order of the ids, which `class_ids` in `shapes_json` has.
        shapes_json: what the labels hold, see [releases.md](releases.md).
        problems_json: what is wrong: code, member, line, detail, and totals.
        stats_status: pending, completed, failed or stale.
        stats_source: metadata of the archive, or a scan of its members.
        stats_error: why the last attempt failed; what was computed before it stays.
        archive_size: of the archive that the statistics are of, in bytes: another one makes
            them stale.
        archive_modified_at: its time of change: likewise.
        content_key: hash of its central directory: the same for the same members.
        stats_version: of the code that computed them.
        stats_computed_at: when.
    """

    __tablename__ = "releases"
    __table_args__ = (
        # What was computed is there as a whole, also beside a later failure.
        CheckConstraint(
            "(stats_computed_at IS NULL) = (train_image_count IS NULL OR val_image_count IS NULL "
            "OR test_image_count IS NULL OR class_count IS NULL OR classes_json IS NULL "
            "OR shapes_json IS NULL OR problems_json IS NULL OR stats_source IS NULL "
            "OR archive_size IS NULL OR archive_modified_at IS NULL OR content_key IS NULL "
            "OR stats_version IS NULL)",
            name="ck_releases_statistics_are_whole",
        ),
        CheckConstraint(
            "stats_status IN ('pending', 'failed') OR stats_computed_at IS NOT NULL",
            name="ck_releases_completed_has_statistics",
        ),
        CheckConstraint(
            "(stats_status = 'failed') = (stats_error IS NOT NULL)",
            name="ck_releases_failed_has_error",
        ),
        CheckConstraint("char_length(stats_error) <= 500", name="ck_releases_stats_error_length"),
        Index("ix_releases_project_id", "project_id"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    project_id: UUID | None = Field(default=None, foreign_key="projects.id", ondelete="SET NULL")
    name: str = Field(sa_type=Text, unique=True)
    model_path: str = Field(sa_type=Text, unique=True)
    train_image_count: int | None = Field(default=None, sa_type=Integer)
    val_image_count: int | None = Field(default=None, sa_type=Integer)
    test_image_count: int | None = Field(default=None, sa_type=Integer)
    class_count: int | None = Field(default=None, sa_type=Integer)
    classes_json: Any = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    shapes_json: Any = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    problems_json: Any = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    stats_status: ReleaseStatsStatus = Field(
        default=ReleaseStatsStatus.PENDING,
        sa_type=enum_type(ReleaseStatsStatus, "release_stats_status"),
        nullable=False,
    )
    stats_source: ReleaseStatsSource | None = Field(
        default=None, sa_type=enum_type(ReleaseStatsSource, "release_stats_source")
    )
    stats_error: str | None = Field(default=None, sa_type=Text)
    archive_size: int | None = Field(default=None, sa_type=BigInteger)
    archive_modified_at: datetime | None = time_field()
    content_key: str | None = Field(default=None, sa_type=Text)
    stats_version: int | None = Field(default=None, sa_type=Integer)
    stats_computed_at: datetime | None = time_field()
    created_at: datetime = created_at_field()
    updated_at: datetime = created_at_field()
