"""Snapshots of views: their Arrow schema comes from the tables that the view joins."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
from sqlalchemy import ARRAY, Column, Connection, DateTime, Numeric, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import SQLModel

from storage.database.connection import execute
from storage.database.tables.images import ProjectImage, SharedImage
from storage.database.tables.quality import ImageQualityMetrics, ProjectImageQuality
from storage.database.tables.sessions import SessionFolder, SessionMetadata, SessionStats

_TYPES = {
    "SmallInteger": pa.int16(),
    "Integer": pa.int32(),
    "BigInteger": pa.int64(),
    "Float": pa.float64(),
    "Boolean": pa.bool_(),
    "Text": pa.string(),
    "Enum": pa.string(),
    "Uuid": pa.string(),
}

_JSON_TYPES = {
    "placeholders_json": pa.map_(pa.string(), pa.int64()),
    "variations_summary_json": pa.map_(pa.string(), pa.list_(pa.string())),
    "problems": pa.list_(
        pa.struct(
            {"code": pa.string(), "place": pa.string(), "reason": pa.string(), "count": pa.int64()}
        )
    ),
}

Columns = Mapping[str, Column[Any]]


def columns_of(table: type[SQLModel], *names: str, without: Collection[str] = ()) -> Columns:
    """Columns of a table class by name: those named, or all, but those in `without`."""
    columns: Columns = table.__table__.columns  # type: ignore[attr-defined]
    return {name: columns[name] for name in names or columns.keys() if name not in without}


def _arrow_type(column: Column[Any]) -> pa.DataType:
    kind = column.type
    if isinstance(kind, JSONB):
        return _JSON_TYPES[column.name]
    if isinstance(kind, ARRAY):
        return pa.list_(_TYPES[type(kind.item_type).__name__])
    if isinstance(kind, DateTime):
        return pa.timestamp("us", tz="UTC")
    if type(kind) is Numeric:
        return pa.decimal128(kind.precision, kind.scale)
    return _TYPES[type(kind).__name__]


@dataclass(frozen=True)
class SnapshotView:
    """A view of which each subject (a project, a root of sessions) has snapshots.

    Attributes:
        subject: the column that tells the subjects apart.
        order: the column that orders the rows of a subject; text, unique among them.
        columns: the columns of a snapshot, by their names in the view.
        required: those that are never null.
        no_news: those that make no other content when they alone have changed.
    """

    view: str
    subject: str
    order: str
    columns: Columns
    required: Collection[str]
    no_news: Collection[str] = ()

    @cached_property
    def schema(self) -> pa.Schema:
        """The schema of a snapshot."""
        return pa.schema(
            [
                pa.field(name, _arrow_type(column), nullable=name not in self.required)
                for name, column in self.columns.items()
            ]
        )

    def digest(self, connection: Connection, subject: object) -> str:
        """A digest of the rows that `read` gives: the same for the same rows."""
        names = ", ".join(name for name in self.columns if name not in self.no_news)
        digest = execute(
            connection,
            f"SELECT md5(coalesce(string_agg(md5(r::text), '' ORDER BY r.{self.order} "
            f"COLLATE \"C\"), '')) FROM (SELECT {names} FROM {self.view} "
            f"WHERE {self.subject} = :subject) r",
            subject=subject,
        ).scalar()
        return str(digest)

    def read(
        self, connection: Connection, subject: object, *, batch_rows: int = 5_000
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a subject in their order, `batch_rows` at a time."""
        names = ", ".join(
            f"{name}::text" if isinstance(column.type, Uuid) else name
            for name, column in self.columns.items()
        )
        result = connection.execute(
            text(
                f"SELECT {names} FROM {self.view} WHERE {self.subject} = :subject "
                f'ORDER BY {self.order} COLLATE "C"'
            ),
            {"subject": subject},
            execution_options={"stream_results": True, "yield_per": batch_rows},
        )
        for rows in result.partitions(batch_rows):
            arrays = [
                pa.array(_as_stored(column, field), type=field.type)
                for column, field in zip(zip(*rows, strict=True), self.schema, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _as_stored(values: Sequence[Any], field: pa.Field) -> Sequence[Any]:
    """JSON objects as the pairs that an Arrow map is made of; anything else unchanged."""
    if not pa.types.is_map(field.type):
        return values
    return [None if value is None else list(value.items()) for value in values]


IMAGE_QUALITY = SnapshotView(
    view="image_quality",
    subject="project_id",
    order="relative_path",
    columns={
        **columns_of(ProjectImageQuality, "project_image_id"),
        **columns_of(ProjectImage, "shared_image_id", "relative_path", "filename", "split"),
        **columns_of(ProjectImage, "state"),
        **columns_of(SharedImage, "sha256", "format", "width", "height", "file_size"),
        **columns_of(ImageQualityMetrics, without=("shared_image_id", "computed_at")),
        **columns_of(ProjectImageQuality, without=("project_image_id", "compared_hash")),
        "nearest_relative_path": columns_of(ProjectImage, "relative_path")["relative_path"],
        **columns_of(ImageQualityMetrics, "computed_at"),
    },
    required=("project_image_id", "shared_image_id"),
)

SESSIONS = SnapshotView(
    view="sessions",
    subject="sessions_root",
    order="session_id",
    columns={
        **columns_of(SessionStats, without=("look_again",)),
        "folder_state": columns_of(SessionFolder, "state")["state"],
        **columns_of(SessionFolder, "error_message"),
        **columns_of(SessionMetadata, "tags", "flags", "rating", "note"),
    },
    required=("session_id", "session_path"),
    # Reading a session again that is the same is no news.
    no_news=("stats_computed_at",),
)
