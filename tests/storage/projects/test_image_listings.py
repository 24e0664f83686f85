"""What the database tells of the images of a project."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from storage.projects.image_listings import list_images
from tasks.projects.registration_steps import register_project
from tests.places import DATA

PHOTOGRAPHS = DATA / "dark-retinexnet" / "data" / "eval" / "low"


@pytest.fixture
def project(database, tmp_path):
    folder = tmp_path / "dark"
    (folder / "valid" / "images").mkdir(parents=True)
    for photograph in PHOTOGRAPHS.iterdir():
        shutil.copy(photograph, folder / "valid" / "images")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return register_project(database, "dark", folder, workers=2).project


def measure(database, relative_path, **columns):
    """Store a measurement as quality-metrics does."""
    values = {
        "status": "completed",
        "low_information": False,
        "perceptual_hash": "0123456789abcdef",
        "difference_hash": "fedcba9876543210",
        "error_code": None,
        "error_message": None,
        **columns,
    }
    with database.transaction() as connection:
        connection.execute(
            text(
                "INSERT INTO image_quality_metrics (shared_image_id, status, sharpness, "
                "brightness, contrast, red_avg, green_avg, blue_avg, perceptual_hash, "
                "difference_hash, low_information, error_code, error_message, metrics_version, "
                "pillow_version, opencv_version) SELECT shared_image_id, "
                "CAST(:status AS measurement_status), 0, 0, 0, 0, 0, 0, :perceptual_hash, "
                ":difference_hash, :low_information, :error_code, :error_message, 1, '', '' "
                "FROM project_images WHERE relative_path = :path"
            ),
            {"path": relative_path, **values},
        )


def test_what_is_known_of_each_image(database, project):
    measure(database, "valid/images/1.png")
    measure(database, "valid/images/22.png", low_information=True)
    (Path(project.path) / "valid" / "images" / "780.png").rename(project.path / ".gone")
    register_project(database, "dark", project.path, workers=2, accept_losses=True)

    broken, dark, flat, gone = list_images(database, project.id)
    assert [one.relative_path for one in (broken, dark, flat, gone)] == [
        "broken.jpg", "valid/images/1.png", "valid/images/22.png", "valid/images/780.png"
    ]  # fmt: skip
    path = project.path / "valid" / "images" / "1.png"
    assert dark.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (dark.file_size, dark.modified_at_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert (dark.width, dark.height, dark.format) == (600, 400, "PNG")
    assert (dark.is_missing, dark.is_measured, dark.split) == (False, True, "val")
    assert (dark.perceptual_hash, dark.difference_hash) == ("0123456789abcdef", "fedcba9876543210")
    assert (flat.is_measured, flat.perceptual_hash, flat.difference_hash) == (True, None, None)
    assert (gone.is_missing, gone.is_measured) == (True, False)
    assert (broken.width, broken.format, broken.failure) == (None, None, None)
    assert (dark.generated_from_id, dark.filename, dark.state) == (None, "1.png", "present")
    assert gone.state == "missing"


@pytest.mark.parametrize(
    ("code", "failure"),
    [("truncated", "1.png: cut off"), ("too_large", "1.png: cut off"), ("missing", None),
     ("changed", None), ("out_of_memory", None)],
)  # fmt: skip
def test_failures_that_are_about_the_content_tell(database, project, code, failure):
    measure(
        database,
        "valid/images/1.png",
        status="failed",
        error_code=code,
        error_message="1.png: cut off",
        perceptual_hash=None,
    )
    found = list_images(database, project.id)[1]
    assert (found.failure, found.is_measured, found.perceptual_hash) == (failure, False, None)
