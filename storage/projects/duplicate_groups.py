"""Groups of near-duplicates of a project, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from storage.database.connection import Database

_MEMBERS = """
SELECT l.duplicate_group, i.id, i.relative_path, i.split, s.sha256, q.nearest_distance
FROM image_listing l JOIN project_images i ON i.id = l.project_image_id
JOIN project_image_quality q ON q.project_image_id = i.id
JOIN shared_images s ON s.id = i.shared_image_id
WHERE l.project_id = :project_id
  AND l.duplicate_group > :after AND l.duplicate_group <= :after + :limit
ORDER BY l.duplicate_group, l.relative_path
"""


@dataclass(frozen=True)
class GroupedImage:
    """An image of a group.

    `distance` is how many of the 64 bits of its hash differ from that of its nearest image.
    """

    id: UUID
    relative_path: str
    split: str | None
    sha256: str
    distance: int | None


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that are nearly the same, in the byte order of their paths."""

    number: int
    images: list[GroupedImage]

    @property
    def splits(self) -> list[str]:
        """The splits that its images are in: more than one leaks from training into testing."""
        return sorted({image.split for image in self.images if image.split is not None})


def list_duplicate_groups(
    database: Database, project_id: UUID, *, after: int = 0, limit: int = 50
) -> list[DuplicateGroup]:
    """The groups with the next numbers; they are numbered from 1 without gaps.

    One of which all images are missing by now is left out.
    """
    groups: dict[int, DuplicateGroup] = {}
    for number, *image in database.rows(_MEMBERS, project_id=project_id, after=after, limit=limit):
        groups.setdefault(number, DuplicateGroup(number, [])).images.append(GroupedImage(*image))
    return list(groups.values())


def last_duplicate_group(database: Database, project_id: UUID) -> int:
    """The number of the last group of a project, 0 where it has none."""
    rows = database.rows(
        "SELECT max(duplicate_group) FROM image_listing WHERE project_id = :project_id",
        project_id=project_id,
    )
    return int(rows[0][0] or 0)
