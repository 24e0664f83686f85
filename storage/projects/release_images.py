"""The images of a project as a release takes them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from storage.database.connection import Database


@dataclass(frozen=True, slots=True)
class ReleaseImageRecord:
    """An image of a project that is there, with what decides its place in a release.

    `width` and `height` are None where the header told none, `duplicate_group` where it is in none
    or was not measured, `perceptual_hash` where it was not measured or is flat.
    """

    relative_path: str
    sha256: str
    file_size: int
    split: str | None
    duplicate_group: int | None
    perceptual_hash: str | None
    width: int | None
    height: int | None


def list_release_images(database: Database, project_id: UUID) -> list[ReleaseImageRecord]:
    """The images of a project whose files were there at the last registration, by path."""
    with database.transaction() as connection:
        rows = connection.execute(
            text(
                "SELECT i.relative_path, s.sha256, i.file_size, i.split, q.duplicate_group, "
                "CASE WHEN NOT m.low_information THEN m.perceptual_hash END, "
                "s.width, s.height FROM project_images i "
                "JOIN shared_images s ON s.id = i.shared_image_id "
                "LEFT JOIN image_quality_metrics m ON m.shared_image_id = s.id "
                "LEFT JOIN project_image_quality q ON q.project_image_id = i.id "
                "WHERE i.project_id = :id AND i.state = 'present' "
                'ORDER BY i.relative_path COLLATE "C"'
            ),
            {"id": project_id},
        )
        return [ReleaseImageRecord(*row) for row in rows]
