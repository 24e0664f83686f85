"""One image of a project: where it lies, what is known of it, and which others look like it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from storage.database.connection import Database, execute
from storage.errors import NotFoundError
from storage.files.places import place_of
from storage.projects.image_pages import ImageRow, load_image_rows


@dataclass(frozen=True)
class Neighbour:
    """Another image of the project and how many of the 64 bits of their hashes differ."""

    image: ImageRow
    distance: int


@dataclass(frozen=True)
class ImageDetails:
    """An image with the folder of its project."""

    image: ImageRow
    folder: Path

    @property
    def path(self) -> Path:
        """Where the file lies, or lay."""
        return self.folder / self.image.relative_path


def find_image(database: Database, image_id: UUID) -> ImageDetails:
    """An image of a project by its id.

    Raises:
        NotFoundError: there is no such image.
    """
    with database.reading() as connection:
        rows = load_image_rows(connection, [image_id])
        if not rows:
            raise NotFoundError(
                f"There is no image {image_id}; GET /api/v1/projects/{{id}}/images lists them."
            )
        folder = execute(
            connection, "SELECT path FROM projects WHERE id = :id", id=rows[0].project_id
        ).scalar_one()
    return ImageDetails(rows[0], place_of(folder))


def nearest_images(database: Database, image_id: UUID, *, most: int = 12) -> list[Neighbour]:
    """The images of the same project whose hashes are nearest, the nearest first.

    Flat images and those that are not measured have no neighbours and are nobody's.
    """
    with database.reading() as connection:
        found = execute(
            connection,
            "SELECT l.project_image_id AS id, "
            "bit_count(CAST(l.hash # own.hash AS bit(64)))::int AS distance "
            "FROM image_listing own JOIN image_listing l ON l.project_id = own.project_id "
            "WHERE own.project_image_id = :id AND l.hash IS NOT NULL AND own.hash IS NOT NULL "
            "AND l.project_image_id <> own.project_image_id "
            "ORDER BY distance, id LIMIT :most",
            id=image_id,
            most=most,
        ).all()
        distances = {row.id: row.distance for row in found}
        rows = load_image_rows(connection, list(distances))
    return [Neighbour(row, distances[row.id]) for row in rows]


def cover_images(database: Database) -> dict[UUID, tuple[UUID, str]]:
    """For each project that has one an image to know it by: its id and the sha256 of its file."""
    rows = database.rows(
        "SELECT p.id, found.id, found.sha256 FROM projects p CROSS JOIN LATERAL ("
        "SELECT i.id, s.sha256 FROM image_listing l "
        "JOIN project_images i ON i.id = l.project_image_id "
        "JOIN shared_images s ON s.id = i.shared_image_id "
        "WHERE l.project_id = p.id AND l.flags & 3 < 2 "
        "ORDER BY l.flags, l.relative_path LIMIT 1) found"
    )
    return {row[0]: (row[1], row[2]) for row in rows}
