"""Sessions of image generation: what people say of one, where its folder is, what it holds.

Three tables, because three parties write: people edit `session_metadata`, and a flow only adds the
rows that are missing there; `session_folders` says what lies on the disk and how it looked when it
was read; `session_stats` has what was computed. Deleting the first deletes the others.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from storage.database.tables.columns import created_at_field, enum_type, time_field
from storage.records import SessionManifestStatus, SessionStatsSource


class SessionFolderState(StrEnum):
    """Whether the folder of a session was there at the last look."""

    PRESENT = "present"
    MISSING = "missing"


def _text_array() -> Any:  # noqa: ANN401 - SQLModel types its fields so
    return Field(
        default_factory=list,
        sa_column=Column(ARRAY(Text()), nullable=False, server_default=text("'{}'::text[]")),
    )


def _json(default: str) -> Any:  # noqa: ANN401
    return Field(
        sa_column=Column(JSONB, nullable=False, server_default=text(f"'{default}'::jsonb"))
    )


def _seed() -> Any:  # noqa: ANN401
    """A seed: unsigned 64 bits, which no integer column holds, or below 0 for a random one."""
    return Field(default=None, sa_type=Numeric(20, 0))


class SessionMetadata(SQLModel, table=True):
    """What people say of a session; no flow changes it.

    Columns:
        session_id: see below.
        tags: people's words for it.
        flags: likewise.
        rating: 1 to 5.
        note: free text.
    """

    __tablename__ = "session_metadata"
    __table_args__ = (
        CheckConstraint("rating BETWEEN 1 AND 5", name="ck_session_metadata_rating"),
        CheckConstraint("session_id <> ''", name="ck_session_metadata_session_id"),
    )

    session_id: str = Field(sa_type=Text, primary_key=True)
    tags: list[str] = _text_array()
    flags: list[str] = _text_array()
    rating: int | None = Field(default=None, sa_type=SmallInteger)
    note: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    created_at: datetime = created_at_field()
    updated_at: datetime = created_at_field()


class SessionFolder(SQLModel, table=True):
    """Where the folder of a session lies, and what it looked like when it was read last.

    The times and the size tell without opening anything whether the statistics are still those of
    the folder. They are empty until the statistics have been computed for the first time.

    Columns:
        id: of the row.
        session_id: of the session.
        sessions_root: the folder that it was found in, absolute.
        relative_path: below it.
        state: present, or missing at the last look.
        missing_since: when it was first found to be gone.
        folder_modified_at_ns: time of change of the folder when it was read; null until then.
        manifest_modified_at_ns: and of the manifest.
        manifest_size: and its size in bytes.
        error_message: why the last look failed; what was computed before it stays.
    """

    __tablename__ = "session_folders"
    __table_args__ = (
        UniqueConstraint("sessions_root", "relative_path"),
        CheckConstraint(
            "char_length(error_message) <= 500", name="ck_session_folders_error_message_length"
        ),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    session_id: str = Field(
        sa_type=Text, foreign_key="session_metadata.session_id", ondelete="CASCADE", unique=True
    )
    sessions_root: str = Field(sa_type=Text)
    relative_path: str = Field(sa_type=Text)
    state: SessionFolderState = Field(
        default=SessionFolderState.PRESENT,
        sa_type=enum_type(SessionFolderState, "session_folder_state"),
        nullable=False,
    )
    missing_since: datetime | None = time_field()
    folder_modified_at_ns: int | None = Field(default=None, sa_type=BigInteger)
    manifest_modified_at_ns: int | None = Field(default=None, sa_type=BigInteger)
    manifest_size: int | None = Field(default=None, sa_type=BigInteger)
    error_message: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = created_at_field()


def _newest_first(name: str, *columns: str) -> Index:
    """An index that serves a filter by `columns` in the order of the listing."""
    return Index(name, *columns, text("session_created_at DESC NULLS LAST"), text("session_id"))


class SessionStats(SQLModel, table=True):
    """What a session promised and what its folder holds. docs/sessions.md defines the columns.

    Columns:
        session_id: the path of its folder below the root.
        session_path: its absolute path.
        sd_model: the checkpoint's file name, without the hash; at most 500 characters.
        sd_model_hash: the hash that stands behind it in brackets.
        template_version: version of the template system that wrote the manifest.
        generation_mode: `combinatorial`, `random`, or what else is stated.
        seed_mode: `fixed`, `progressive`, `random`, or what else is stated.
        seed_base: the seed asked for, up to 2^64 - 1, hence `NUMERIC(20, 0)`; -1 asks for
            random ones.
        resolved_prompt: the prompt, with placeholders where it comes from a manifest; from
            images, the prompt of the first that tells one.
        negative_prompt: the negative prompt, likewise.
        width: pixels asked for, before any enlargement; 1 to 2**31 - 1.
        height: likewise.
        steps: sampling steps, 0 to 2**31 - 1.
        cfg_scale: classifier-free guidance scale, finite.
        sampler_name: the sampler.
        images_expected: how many images were promised; 0 where nothing tells. At most 2**63 -
            1.
        images_actual: how many images the folder holds.
        completion_percentage: actual of expected in percent, two decimals; 0 where nothing is
            expected, above 100 where there are more than expected.
        is_seed_sweep: a list of seeds or a sweep mode; else progressive seeds and at most one
            placeholder with more than one value.
        placeholders_json: number of used values by placeholder.
        variations_summary_json: the first ten used values by placeholder.
        session_created_at: the time in the folder's name, on this machine's clock.
        manifest_generated_at: the time that the manifest states.
        first_image_created_at: when the oldest image was written last.
        last_image_created_at: when the newest image was written last.
        stats_computed_at: when these statistics were made.
        stats_version: of the rules that computed them.
        stats_source: manifest, image_metadata or filesystem: what told all but the counts.
        manifest_status: what the generator says: ongoing, completed or aborted.
        seed_min: smallest seed of the images that tell theirs.
        seed_max: largest seed of them.
        is_ongoing: something was written in the last five minutes, and the generator does not
            say that it is over.
        look_again: something was written in the last five minutes: the next run reads it
            whatever it looks like.
        images_listed: images that the manifest lists; None without a readable list.
        images_listed_absent: how many of them are not in the folder; None likewise.
        images_unlisted: images in the folder that the manifest does not list; None likewise.
        images_sampled: images opened (their headers) where no manifest tells.
        problems: what was wrong: a list of code, place, reason and count.
    """

    __tablename__ = "session_stats"
    __table_args__ = (
        _newest_first("ix_session_stats_sd_model", "sd_model"),
        _newest_first("ix_session_stats_is_seed_sweep", "is_seed_sweep"),
        _newest_first("ix_session_stats_session_created_at"),
        Index("ix_session_stats_completion_percentage", "completion_percentage"),
        CheckConstraint(
            "images_expected >= 0 AND images_actual >= 0 AND completion_percentage >= 0",
            name="ck_session_stats_counts",
        ),
    )

    session_id: str = Field(
        sa_type=Text,
        foreign_key="session_metadata.session_id",
        ondelete="CASCADE",
        primary_key=True,
    )
    session_path: str = Field(sa_type=Text)
    sd_model: str | None = Field(default=None, sa_type=Text)
    sd_model_hash: str | None = Field(default=None, sa_type=Text)
    template_version: str | None = Field(default=None, sa_type=Text)
    generation_mode: str | None = Field(default=None, sa_type=Text)
    seed_mode: str | None = Field(default=None, sa_type=Text)
    seed_base: int | None = _seed()
    resolved_prompt: str | None = Field(default=None, sa_type=Text)
    negative_prompt: str | None = Field(default=None, sa_type=Text)
    width: int | None = Field(default=None, sa_type=Integer)
    height: int | None = Field(default=None, sa_type=Integer)
    steps: int | None = Field(default=None, sa_type=Integer)
    cfg_scale: float | None = Field(default=None, sa_type=Float(53))
    sampler_name: str | None = Field(default=None, sa_type=Text)
    images_expected: int = Field(sa_type=BigInteger)
    images_actual: int = Field(sa_type=BigInteger)
    completion_percentage: float = Field(sa_type=Float(53))
    is_seed_sweep: bool
    placeholders_json: dict[str, int] = _json("{}")
    variations_summary_json: dict[str, list[str]] = _json("{}")
    session_created_at: datetime | None = time_field()
    manifest_generated_at: datetime | None = time_field()
    first_image_created_at: datetime | None = time_field()
    last_image_created_at: datetime | None = time_field()
    stats_computed_at: datetime = time_field(nullable=False)
    stats_version: int = Field(sa_type=Integer)
    stats_source: SessionStatsSource = Field(
        sa_type=enum_type(SessionStatsSource, "session_stats_source"), nullable=False
    )
    manifest_status: SessionManifestStatus | None = Field(
        default=None, sa_type=enum_type(SessionManifestStatus, "session_manifest_status")
    )
    seed_min: int | None = _seed()
    seed_max: int | None = _seed()
    is_ongoing: bool
    look_again: bool
    images_listed: int | None = Field(default=None, sa_type=BigInteger)
    images_listed_absent: int | None = Field(default=None, sa_type=BigInteger)
    images_unlisted: int | None = Field(default=None, sa_type=BigInteger)
    images_sampled: int = Field(sa_type=Integer)
    problems: list[dict[str, Any]] = _json("[]")
