"""The images of a project as reports, training sets and releases take them."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from storage.database.connection import Database, execute
from storage.errors import ImageErrorCode
from storage.records import ListedImage

# Measuring failed for a reason outside of the content, which a look at the file finds out again.
_PASSING_ERROR_CODES = (
    ImageErrorCode.MISSING,
    ImageErrorCode.NOT_READABLE,
    ImageErrorCode.CHANGED,
    ImageErrorCode.OUT_OF_MEMORY,
)


def count_images(connection: Connection, project_id: UUID) -> int:
    """How many images a project has, missing ones too."""
    query = "SELECT count(*) FROM project_images WHERE project_id = :id"
    return int(execute(connection, query, id=project_id).scalar_one())


def list_images(database: Database, project_id: UUID) -> list[ListedImage]:
    """All images of a project, missing ones too, in the byte order of their relative paths."""
    query = text(
        """
        SELECT i.id, i.relative_path, s.sha256, i.file_size, i.modified_at_ns,
               s.width, s.height, s.format, i.state::text, i.split,
               i.is_labeled, i.label_path, i.label_format, i.label_count,
               i.generated_from_id, i.generation->>'key',
               CASE WHEN m.status = 'failed' AND NOT m.error_code = ANY(:passing)
                    THEN m.error_message END,
               m.status IS NOT DISTINCT FROM 'completed',
               CASE WHEN NOT m.low_information THEN m.perceptual_hash END,
               CASE WHEN NOT m.low_information THEN m.difference_hash END
        FROM project_images i
        JOIN shared_images s ON s.id = i.shared_image_id
        LEFT JOIN image_quality_metrics m ON m.shared_image_id = i.shared_image_id
        WHERE i.project_id = :project_id
        ORDER BY i.relative_path COLLATE "C"
        """
    )
    values = {
        "project_id": project_id,
        "passing": [code.value for code in _PASSING_ERROR_CODES],
    }
    with database.reading() as connection:
        return [ListedImage(*row) for row in connection.execute(query, values)]
