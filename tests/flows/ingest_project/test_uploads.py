"""Committed uploads: all of one becomes part of its project and ends with it, or nothing does."""

from __future__ import annotations

from io import BytesIO
from uuid import UUID

import pytest

from deployments.web.files.staging import stage
from storage.errors import NotFoundError
from storage.projects.projects import find_project
from storage.projects.uploads import begin_commit, begin_upload, find_upload, upload_folder
from storage.settings import get_settings
from tests.flows.ingest_project.ingest_samples import ROWS, picture, yolo_dataset, zipped


def staged(database, project, contents):
    upload = begin_upload(database, find_project(database, project).id, {})
    for name, content in contents.items():
        stage(database, get_settings(), upload.id, name, len(content), BytesIO(content))
    return begin_commit(database, upload.id)


def test_uploads_become_part_of_a_project(
    ingested, refused, image_rows, database, tmp_path, monkeypatch
):
    before = ingested(yolo_dataset(tmp_path / "source", "ab"), "p")
    # Where deployments may read elsewhere only, what was uploaded is read all the same.
    monkeypatch.setenv("VISIONFLOWS_DATA_ROOTS", str(tmp_path / "source"))
    get_settings.cache_clear()
    picture(tmp_path / "new.png", 7)
    content = (tmp_path / "new.png").read_bytes()
    damaged = content[: len(content) // 2]
    names = {
        "train/images/תמונה.png": content,
        "train/labels/תמונה.txt": ROWS.encode(),
        "train/images/damaged.png": damaged,
    }
    upload = staged(database, "p", names)
    said = refused(upload.source, str(upload.project_id))
    assert "train/images/damaged.png" in said
    assert "nothing became part of the project" in said
    assert len(image_rows("p")) == before["image_count"] == 2
    assert len(find_upload(database, upload.id).files) == 3

    del names["train/images/damaged.png"]
    upload = staged(database, "p", names)
    report = ingested(upload.source, str(upload.project_id))
    assert (report["added"], report["image_count"]) == (1, 3)
    rows = {row["relative_path"]: row for row in image_rows("p")}
    assert rows["train/images/תמונה.png"]["label_count"] == 2
    assert not upload_folder(upload.id).exists()
    with pytest.raises(NotFoundError):
        find_upload(database, upload.id)

    archive = zipped(yolo_dataset(tmp_path / "more", "xyz", first=20), tmp_path / "more.zip")
    upload = staged(database, "p", {"any name.zip": archive.read_bytes()})
    assert UUID(upload.source.name)
    report = ingested(upload.source, str(upload.project_id))
    assert (report["added"], report["image_count"]) == (3, 6)
    assert list(get_settings().uploads_folder.iterdir()) != []  # the refused one stays, a day
