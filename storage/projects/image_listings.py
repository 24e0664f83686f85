"""The images of a project as reports, training sets and releases take them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from storage.database.connection import Database
from storage.errors import ImageErrorCode

# Measuring failed for a reason outside of the content, which a look at the file finds out again.
_PASSING_ERROR_CODES = (
    ImageErrorCode.MISSING,
    ImageErrorCode.NOT_READABLE,
    ImageErrorCode.CHANGED,
    ImageErrorCode.OUT_OF_MEMORY,
)


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One image of a project with what is known of its content, labels and origin.

    `file_size` (bytes) and `modified_at_ns` are those of the registration. `width`, `height`
    (pixels) and `format` (Pillow's name) are None where the header tells none.

    Attributes:
        state: "present", or "missing" where the file was gone at the last registration.
        split: "train", "val" or "test"; None where the dataset names none.
        generated_by: the key of how it was made.
        failure: why its content could not be measured; None where it could, or nobody has tried.
        perceptual_hash: 16 hexadecimal digits; None for content that is flat or not measured.
    """

    image_id: UUID
    relative_path: str
    sha256: str
    file_size: int
    modified_at_ns: int
    width: int | None
    height: int | None
    format: str | None
    state: str
    split: str | None
    is_labeled: bool
    label_path: str | None
    label_format: str | None
    label_count: int | None
    generated_from_id: UUID | None
    generated_by: str | None
    failure: str | None
    is_measured: bool
    perceptual_hash: str | None
    difference_hash: str | None

    @property
    def filename(self) -> str:
        """The last part of its path."""
        return self.relative_path.rpartition("/")[2]

    @property
    def is_missing(self) -> bool:
        """Whether the file was gone at the last registration."""
        return self.state == "missing"


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
