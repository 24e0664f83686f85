"""Images over HTTP: pages, one image, its thumbnail and its file."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import psutil
import pytest
from PIL import Image
from sqlalchemy import text

from deployments.web.files import pictures
from storage.projects.images import (
    ImageLabelFile,
    LabelRegistration,
    RegisteredFile,
    register_files,
)
from storage.projects.projects import add_project
from storage.settings import get_settings
from tasks.quality.pixels.isolated import IsolatedWorkers
from tests.flows.ingest_project.ingest_samples import ROWS, picture, write
from tests.storage.projects.quality_rows import image_ids, measured, store


@pytest.fixture
def project(database, tmp_path):
    """Six images on the disk, of which one is damaged, one no picture, and one gone since."""
    folder = tmp_path / "images"
    for number in range(4):
        picture(folder / "images" / f"{number}.png", number, width=320, height=240)
    whole = (folder / "images" / "0.png").read_bytes()
    write(folder / "images" / "damaged.png", whole[: len(whole) // 2])
    write(folder / "images" / "html.jpg", "<script>alert(1)</script>")
    write(folder / "labels" / "0.txt", ROWS)
    files = []
    for path in sorted(folder.glob("images/*")):
        status, content = path.stat(), path.read_bytes()
        is_html = path.name == "html.jpg"
        files.append(
            RegisteredFile(
                f"images/{path.name}",
                status.st_size,
                status.st_mtime_ns,
                hashlib.sha256(content).hexdigest(),
                None if is_html else 320,
                None if is_html else 240,
                None if is_html else "PNG",
            )
        )
    labels = LabelRegistration(
        [ImageLabelFile("images/0.png", "train", "labels/0.txt", "yolo", 2, ("mussel", "<crab>"))],
        {0: "mussel", 1: "crab"},
        "x",
    )
    project = add_project(database, "mussels", folder)
    register_files(database, project, files, [one.relative_path for one in files], labels=labels)
    return project


@pytest.fixture
def ids(database, project):
    return {
        Path(path).name: str(image) for path, (image, _) in image_ids(database, project).items()
    }


def items(web, query, status=200):
    answer = web.get(f"/api/v1/projects/mussels/images?{query}")
    assert answer.status_code == status, answer.text
    return answer.json()["data"]


def test_pages_filters_and_orders(web, project, database, ids):
    for number, (_, shared) in enumerate(image_ids(database, project).values()):
        if number < 3:
            store(
                database, measured(shared, brightness=number / 4, perceptual_hash=f"{number:016x}")
            )
    first = items(web, "sort=brightness&descending=true&limit=4")
    assert [one["measures"]["brightness"] for one in first["items"]] == [0.5, 0.25, 0.0, None]
    assert (first["total"], first["total_is_exact"]) == (6, True)
    second = items(web, f"sort=brightness&descending=true&limit=4&cursor={first['next']}")
    assert second["next"] is None
    assert {one["id"] for one in first["items"] + second["items"]} == set(ids.values())
    assert [one["filename"] for one in items(web, "labeled=true")["items"]] == ["0.png"]
    assert [one["filename"] for one in items(web, "split=train")["items"]] == ["0.png"]
    assert [one["filename"] for one in items(web, "class=%3Ccrab%3E")["items"]] == ["0.png"]
    assert items(web, "class=live")["items"] == []
    text = web.get(
        "/projects/mussels/images?class=%3Ccrab%3E", headers={"Accept": "text/html"}
    ).text
    assert '<option value="&lt;crab&gt;" selected>' in text and text.count("<figure>") == 1
    assert items(web, "state=unmeasured&total=exact")["total"] == 3
    assert items(web, "state=measured&issue=blur")["items"] == []
    for other in ("", "sort=brightness", "sort=focus&descending=true"):
        items(web, f"{other}&cursor={first['next']}", 422)
    for wrong in ("sort=path;drop", "cursor=!", "limit=0", "limit=501", "split=x", "issue=x"):
        items(web, wrong, 422)
    assert web.get("/api/v1/projects/none/images").status_code == 404


def test_one_image_with_labels_and_neighbours(web, project, database, ids):
    for name, (_, shared) in image_ids(database, project).items():
        if name.endswith(".png"):
            bits = len(name) + int(name[7] == "3")
            store(database, measured(shared, perceptual_hash=f"{(1 << bits) - 1:016x}"))
    data = web.get(f"/api/v1/images/{ids['0.png']}").json()["data"]
    assert [one["class_name"] for one in data["labels"]] == ["mussel", "crab"]
    assert (data["labels"][0]["center_x"], data["labels"][0]["geometry"]) == (0.5, "box")
    assert data["label_problems"] == []
    distances = [one["distance"] for one in data["neighbours"]]
    assert distances[:3] == [0, 0, 1]
    assert distances == sorted(distances)
    (project.path / "labels" / "0.txt").unlink()
    again = web.get(f"/api/v1/images/{ids['0.png']}?neighbours=0").json()["data"]
    assert (again["labels"], again["neighbours"]) == ([], [])
    assert "0.txt" in again["label_problems"][0]
    assert web.get("/api/v1/images/00000000-0000-0000-0000-000000000000").status_code == 404
    assert web.get("/api/v1/images/..%2f..%2fetc%2fpasswd").status_code in (404, 422)


def test_thumbnails_are_made_once_and_kept_by_content(web, project, ids):
    address = f"/api/v1/images/{ids['0.png']}/thumbnail"
    answer = web.get(address)
    assert answer.headers["Content-Type"] == "image/webp"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert Image.open(io.BytesIO(answer.content)).size == (256, 192)
    sha256 = answer.headers["ETag"].strip('"')
    (kept,) = get_settings().thumbnails_folder.rglob("*.webp")
    assert (kept.stem, kept.read_bytes()) == (sha256, answer.content)
    assert web.get(address, headers={"If-None-Match": f'"{sha256}"'}).status_code == 304
    assert "immutable" in web.get(f"{address}?v={sha256}").headers["Cache-Control"]
    assert "immutable" not in web.get(f"{address}?v=1").headers["Cache-Control"]
    made = kept.stat().st_mtime_ns
    (project.path / "images" / "0.png").unlink()
    assert web.get(address).content == answer.content
    assert kept.stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("name", "reason"),
    [("damaged.png", "truncated"), ("html.jpg", "not%20an%20image"), ("1.png", "not%20exist")],
)
def test_pictures_that_there_are_not_are_drawn_with_the_reason(web, project, ids, name, reason):
    (project.path / "images" / "1.png").unlink()
    answer = web.get(f"/api/v1/images/{ids[name]}/thumbnail")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert reason in answer.headers["X-No-Picture"]
    assert Image.open(io.BytesIO(answer.content)).size == (256, 256)
    assert not list(get_settings().thumbnails_folder.rglob("*.webp"))


def test_a_decoder_that_crashes_or_is_killed_takes_its_picture_only(home, tmp_path, monkeypatch):
    hook = "tests.tasks.quality.pixels.decoder_hooks:misbehave_by_name"
    decoders = IsolatedWorkers("tasks.images.thumbnails:thumbnail_as_json", 1, before_each=hook)
    monkeypatch.setattr(pictures, "_decoders", lambda _seconds: decoders)
    others = set(psutil.Process().children())

    def reason(name):
        picture(tmp_path / name, len(name))
        file = pictures.picture_in_session(tmp_path, name)
        return pictures.thumbnail_in_making(get_settings(), file).result().reason

    assert reason("a.png") is None
    (child,) = set(psutil.Process().children()) - others
    child.kill()
    psutil.wait_procs([child])
    assert reason("bb.png") is None, "a process that died idle is no picture's fault"
    assert "SIGSEGV" in reason("segfault.png")
    assert reason("dddd.png") is None
    decoders.close()


def test_originals_have_ranges_and_nothing_in_them_runs(web, project, database, ids):
    content = (project.path / "images" / "2.png").read_bytes()
    address = f"/api/v1/images/{ids['2.png']}/original"
    answer = web.get(address)
    assert answer.content == content
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"].startswith("inline")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    part = web.get(address, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    beyond = web.get(address, headers={"Range": f"bytes={len(content)}-"})
    assert beyond.status_code == 416
    html = web.get(f"/api/v1/images/{ids['html.jpg']}/original")
    assert html.headers["Content-Disposition"].startswith("attachment")
    assert html.headers["Content-Type"] == "application/octet-stream"
    # Whatever the row says, what is no raster picture is never shown.
    with database.transaction() as connection:
        connection.execute(text("UPDATE shared_images SET format = 'SVG' WHERE format = 'PNG'"))
    assert web.get(address).headers["Content-Disposition"].startswith("attachment")
    write(project.path / "images" / "2.png", "another")
    changed = web.get(address)
    assert (changed.status_code, changed.json()["success"]) == (404, False)
