"""The images of a project as rows for snapshots and reports."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text


@dataclass(frozen=True)
class IndexedImage:
    """One image of a project with what is known of its content, labels and origin."""

    image_id: UUID
    relative_path: str
    filename: str
    state: str
    split: str | None
    sha256: str
    width: int | None
    height: int | None
    format: str | None
    file_size: int
    is_labeled: bool
    label_path: str | None
    label_format: str | None
    label_count: int | None
    generated_from_id: UUID | None
    generated_by: str | None


def read_image_index(connection: Connection, project_id: UUID) -> list[IndexedImage]:
    """All images of a project, missing ones too, in the byte order of their paths."""
    rows = connection.execute(
        text(
            "SELECT i.id, i.relative_path, i.filename, i.state::text, i.split, s.sha256, s.width, "
            "s.height, s.format, i.file_size, i.is_labeled, i.label_path, i.label_format, "
            "i.label_count, i.generated_from_id, i.generation->>'key' "
            "FROM project_images i JOIN shared_images s ON s.id = i.shared_image_id "
            'WHERE i.project_id = :id ORDER BY i.relative_path COLLATE "C"'
        ),
        {"id": project_id},
    )
    return [IndexedImage(*row) for row in rows]
