"""Projects and measurements for the tests of storage/quality.py."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text

from storage.database.connection import Database
from storage.projects.images import RegisteredFile, register_files
from storage.projects.projects import ProjectRecord, add_project
from storage.projects.quality import (
    ComparedImage,
    MeasurementVersions,
    store_comparisons,
    store_measurements,
)

VERSIONS = MeasurementVersions(metrics=2, pillow="12.0", opencv="5.0")


def make_project(
    database: Database, contents: dict[str, str], *, name: str = "mussels"
) -> ProjectRecord:
    """A project whose files have the given contents, by relative path."""
    project = add_project(database, name, Path("/data") / name)
    files = [
        RegisteredFile(
            path, len(content), 1, hashlib.sha256(content.encode()).hexdigest(), 8, 6, "PNG"
        )
        for path, content in contents.items()
    ]
    register_files(database, project, files, contents)
    return project


def image_ids(database: Database, project: ProjectRecord) -> dict[str, tuple[UUID, UUID]]:
    """For each relative path the ids of the project image and of the content."""
    with database.transaction() as connection:
        rows = connection.execute(
            text(
                "SELECT relative_path, id, shared_image_id FROM project_images "
                "WHERE project_id = :id"
            ),
            {"id": project.id},
        ).all()
    return {row[0]: (row[1], row[2]) for row in rows}


def measured(shared_image_id: UUID, **changes: Any) -> dict[str, Any]:
    """The columns of a good measurement, with some of them changed."""
    return {
        "shared_image_id": shared_image_id,
        "status": "completed",
        "sharpness": 0.5,
        "sharpness_variance": 250.0,
        "brightness": 0.4,
        "contrast": 0.3,
        "red_avg": 10.0,
        "green_avg": 20.0,
        "blue_avg": 30.0,
        "perceptual_hash": "0123456789abcdef",
        "difference_hash": "fedcba9876543210",
        "low_information": False,
        "error_code": None,
        "error_message": None,
        "metrics_version": VERSIONS.metrics,
        "pillow_version": VERSIONS.pillow,
        "opencv_version": VERSIONS.opencv,
    } | changes


def failed(shared_image_id: UUID, code: str, **changes: Any) -> dict[str, Any]:
    """The columns of a failure, with some of them changed."""
    empty = dict.fromkeys(measured(shared_image_id))
    return (
        empty
        | {
            "shared_image_id": shared_image_id,
            "status": "failed",
            "error_code": code,
            "error_message": f"it is {code}",
            "metrics_version": VERSIONS.metrics,
            "pillow_version": VERSIONS.pillow,
            "opencv_version": VERSIONS.opencv,
        }
        | changes
    )


def store(database: Database, *rows: dict[str, Any]) -> None:
    """Store measurements in a transaction of their own."""
    with database.transaction() as connection:
        store_measurements(connection, rows)


def compared(project_image_id: UUID, **changes: Any) -> ComparedImage:
    """A comparison, with some of its values changed."""
    values: dict[str, Any] = {
        "uniqueness": 1.0,
        "nearest_image_id": None,
        "nearest_distance": None,
        "duplicate_group": None,
        "overall_quality": 0.5,
        "issues": [],
        "compared_hash": "0123456789abcdef",
    }
    return ComparedImage(project_image_id, **(values | changes))


def compare(
    database: Database, project_id: UUID, *images: ComparedImage, reference: float = 500.0
) -> int:
    with database.transaction() as connection:
        return store_comparisons(connection, project_id, images, sharpness_reference=reference)
