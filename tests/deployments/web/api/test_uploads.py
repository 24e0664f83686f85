"""Uploads over HTTP: resumed where they broke off, refused where they lie, limited, discarded."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from storage.database.tables.jobs import JobKind
from storage.jobs.held import HeldJob, start_job
from storage.projects.projects import ProjectRecord, add_project
from storage.projects.uploads import begin_commit, find_upload, prune_uploads, upload_folder
from storage.settings import get_settings
from tasks.projects.sources.opening import open_source
from tasks.projects.sources.upload import UploadKind, check_upload_name
from tests.flows.ingest_project.ingest_samples import picture

TUS = {"Tus-Resumable": "1.0.0"}
SENDING = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture
def project(database) -> ProjectRecord:
    folder = get_settings().projects_folder / str(uuid4()) / "raw_data"
    folder.mkdir(parents=True)
    return add_project(database, "mussels", folder)


def begin(web, project, **options):
    answer = web.post(f"/api/v1/projects/{project.id}/upload-temp", json=options or None)
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


def create(web, upload, name, size):
    coded = base64.b64encode(name.encode("utf-8", "surrogatepass")).decode()
    headers = {**TUS, "Upload-Length": str(size), "Upload-Metadata": f"filename {coded}"}
    return web.post(upload["files_url"], headers=headers)


def send(web, place, content, offset=0):
    return web.patch(place, content=content, headers={**SENDING, "Upload-Offset": str(offset)})


def upload_whole(web, upload, name, content):
    created = create(web, upload, name, len(content))
    assert created.status_code == 201, created.text
    return send(web, created.headers["Location"], content)


def png(tmp_path: Path, seed: int = 1, **size) -> bytes:
    picture(tmp_path / "p.png", seed, **size)
    return (tmp_path / "p.png").read_bytes()


def test_a_file_arrives_in_parts_and_is_listed_under_its_name(web, project, tmp_path):
    content = png(tmp_path)
    upload = begin(web, project, generate={"augmentations": ["hflip"]})
    created = create(web, upload, "bay/é.png", len(content))
    assert created.status_code == 201, created.text
    place = created.headers["Location"]
    assert created.headers["Upload-Expires"].endswith("GMT")
    assert send(web, place, content[:100]).headers["Upload-Offset"] == "100"
    looked = web.head(place, headers=TUS)
    assert (looked.headers["Upload-Offset"], looked.headers["Upload-Length"]) == (
        "100",
        str(len(content)),
    )
    assert looked.headers["Cache-Control"] == "no-store"
    wrong = send(web, place, content[90:], 90)
    assert (wrong.status_code, wrong.headers["Upload-Offset"]) == (409, "100")
    assert web.post(f"/api/v1/uploads/{upload['id']}/commit").status_code == 422
    assert send(web, place, content[100:] + b"!", 100).status_code == 413
    assert web.head(place, headers=TUS).headers["Upload-Offset"] == "100"
    assert send(web, place, content[100:], 100).status_code == 204
    shown = web.get(f"/api/v1/uploads/{upload['id']}").json()["data"]
    assert shown["options"]["generate"]["augmentations"] == ["hflip"]
    (file,) = shown["files"]
    assert (file["name"], file["kind"], file["received"]) == ("bay/é.png", "image", len(content))
    # On the disk there is the id alone.
    assert [one.name for one in upload_folder(UUID(upload["id"])).iterdir()] == [file["id"]]
    assert create(web, upload, "bay/é.png", 5).status_code == 422
    assert web.delete(place, headers=TUS).status_code == 204
    assert web.head(place, headers=TUS).status_code == 404
    listed = web.get(f"/api/v1/projects/{project.name}/uploads").json()["data"]
    assert [one["id"] for one in listed["items"]] == [upload["id"]]
    assert web.delete(f"/api/v1/uploads/{upload['id']}").status_code == 200
    assert not upload_folder(UUID(upload["id"])).exists()
    assert web.get(f"/api/v1/uploads/{upload['id']}").status_code == 404


def test_the_protocol_is_kept(web, project):
    upload = begin(web, project)
    options = web.options(upload["files_url"])
    assert options.status_code == 204
    assert "creation" in options.headers["Tus-Extension"]
    place = create(web, upload, "a.png", 10).headers["Location"]
    assert web.head(place).status_code == 412
    assert web.patch(place, content=b"x", headers={**TUS, "Upload-Offset": "0"}).status_code == 415
    assert web.patch(place, content=b"x", headers=SENDING).status_code == 422
    for metadata in ("filename !!", "filename /w==", "other eA==", ""):
        headers = {**TUS, "Upload-Length": "1", "Upload-Metadata": metadata}
        assert web.post(upload["files_url"], headers=headers).status_code == 422, metadata


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../a.png",
            "a/../../b.png",
            "/etc/a.png",
            "a//b.png",
            "./a.png",
            "a/",
            "",
            ".",
            ".a.png",
        ),
        *("a\\b.png", "c:/a.png", "a\0.png", "a\n.png", "x" * 252 + ".png", "a/" * 999 + "b.png"),
        *("gpj.\u202egnp.png", "a/.git/b.png", " a.png", "a /b.png", "\ud800.png", "files.json/."),
        *("a.svg", "a.html", "a.php", "a.png.exe", "a.pdf", "a"),
    ],
)
def test_hostile_names_are_refused(web, project, name):
    upload = begin(web, project)
    refused = create(web, upload, name, 10)
    assert refused.status_code == 422, name
    assert web.get(f"/api/v1/uploads/{upload['id']}").json()["data"]["files"] == []


def test_names_of_any_script_are_kept():
    for name in ("מרק/תמונה.png", "صور/١.jpg", "写真.webp", "x" * 251 + ".png", "data.yaml"):
        assert check_upload_name(name) in (UploadKind.IMAGE, UploadKind.LABELS)


def test_contents_that_are_not_what_their_names_say_are_refused(web, project, tmp_path):
    upload = begin(web, project)
    hostile = {
        "a.jpg": b"<!doctype html><script>alert(1)</script>",
        "b.png": b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>',
        "c.txt": b"\x7fELF\0\0\0\0",
        "d.tif": b"%PDF-1.7\n",
        "e.png": b"PK\x03\x04rest of a ZIP",
        "g.gif": b"GIF",
    }
    for name, content in hostile.items():
        refused = upload_whole(web, upload, name, content)
        assert refused.status_code == 415, name
        assert name in refused.json()["message"]
    shown = web.get(f"/api/v1/uploads/{upload['id']}").json()["data"]
    assert shown["files"] == []
    assert list(upload_folder(UUID(upload["id"])).iterdir()) == []
    # A PNG under the name of a JPEG is an image, and nothing else.
    assert upload_whole(web, upload, "h.jpg", png(tmp_path)).status_code == 204
    assert create(web, upload, "f.zip", 5).status_code == 422
    alone = begin(web, project)
    assert upload_whole(web, alone, "f.zip", b"not a ZIP").status_code == 415


def test_limits(web, project, monkeypatch):
    monkeypatch.setenv("VISIONFLOWS_MAX_UPLOAD_BYTES", "1000")
    monkeypatch.setenv("VISIONFLOWS_MAX_STAGED_BYTES", "1500")
    monkeypatch.setenv("VISIONFLOWS_MAX_UPLOAD_FILES", "3")
    get_settings.cache_clear()
    web.app.state.settings = get_settings()
    upload = begin(web, project)
    assert "VISIONFLOWS_MAX_UPLOAD_BYTES" in create(web, upload, "a.png", 1001).json()["message"]
    assert create(web, upload, "a.png", 1000).status_code == 201
    assert "VISIONFLOWS_MAX_STAGED_BYTES" in create(web, upload, "b.png", 501).json()["message"]
    assert create(web, upload, "b.png", 250).status_code == 201
    assert create(web, upload, "c.png", 250).status_code == 201
    assert "VISIONFLOWS_MAX_UPLOAD_FILES" in create(web, upload, "d.png", 1).json()["message"]


def test_a_commit_without_a_worker_leaves_the_upload_as_it_was(
    web, project, database, tmp_path, monkeypatch
):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    upload = begin(web, project)
    assert web.post(f"/api/v1/uploads/{upload['id']}/commit").status_code == 422
    assert upload_whole(web, upload, "a.png", png(tmp_path)).status_code == 204
    refused = web.post(f"/api/v1/uploads/{upload['id']}/commit")
    assert refused.status_code == 503
    assert "visionflows up" in refused.json()["message"]
    assert not find_upload(database, UUID(upload["id"])).is_committing
    assert create(web, upload, "b.png", 5).status_code == 201


def test_a_linked_project_takes_no_files(web, database, tmp_path):
    linked = add_project(database, "linked", tmp_path)
    refused = web.post(f"/api/v1/projects/{linked.id}/upload-temp")
    assert refused.status_code == 422
    assert "does not write to" in refused.json()["message"]


def test_while_an_ingest_takes_an_upload_nothing_in_it_changes(web, project, database, tmp_path):
    upload = begin(web, project)
    upload_whole(web, upload, "a/b.png", png(tmp_path))
    committing = begin_commit(database, UUID(upload["id"]))
    listing = open_source(committing.source).list_files()
    assert [one.relative_path for one in listing.images] == ["a/b.png"]
    # Its job is not there yet, and is about to be.
    assert create(web, upload, "c.png", 5).status_code == 409
    refused = web.delete(f"/api/v1/uploads/{upload['id']}")
    assert refused.status_code == 409 and "right now" in refused.json()["message"]
    job = start_job(database, JobKind.INGEST_PROJECT, str(project.id))
    assert isinstance(job, HeldJob)
    with job:
        assert create(web, upload, "c.png", 5).status_code == 409
        assert web.delete(f"/api/v1/uploads/{upload['id']}").status_code == 409
        assert prune_uploads(database) == 0
    # The ingest has ended without taking it.
    assert create(web, upload, "c.png", 5).status_code == 201


def test_abandoned_uploads_are_pruned_after_a_day(web, project, database, tmp_path):
    old, young, active = begin(web, project), begin(web, project), begin(web, project)
    for upload in (old, active):
        upload_whole(web, upload, "a.png", png(tmp_path))
    then = datetime.now(UTC) - timedelta(hours=25)
    with database.transaction() as connection:
        connection.execute(
            text("UPDATE uploads SET updated_at = :then WHERE id <> :young"),
            {"then": then, "young": young["id"]},
        )
    (file,) = upload_folder(UUID(old["id"])).iterdir()
    os.utime(file, (then.timestamp(), then.timestamp()))
    assert prune_uploads(database) == 1
    assert web.get(f"/api/v1/uploads/{old['id']}").status_code == 404
    assert not upload_folder(UUID(old["id"])).exists()
    assert web.get(f"/api/v1/uploads/{active['id']}").status_code == 200


SERVE = """
import sys, uvicorn
from deployments.web.application import create_application
from storage.settings import get_settings
uvicorn.run(create_application(get_settings()), host="127.0.0.1", port=int(sys.argv[1]),
            log_level="error")
"""


def serve(port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(port)])
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return process
        except OSError:
            assert process.poll() is None
            time.sleep(0.1)
    raise AssertionError("the web process does not answer")


def until(is_so) -> None:
    for _ in range(300):
        if is_so():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come about in 30 seconds")


def test_an_upload_goes_on_after_kill_9_of_the_web_process(project, home, tmp_path):
    """Killed while it writes, at some byte: what HEAD tells is there, the rest makes it whole."""
    content = png(tmp_path, width=800, height=600) + random.Random(1).randbytes(8 << 20)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = serve(port)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            upload = begin(client, project)
            place = create(client, upload, "a.png", len(content)).headers["Location"]

            staged = upload_folder(UUID(upload["id"])) / place.rpartition("/")[2]

            def broken():
                for start in range(0, len(content), 1 << 16):
                    if start > 4 << 20:
                        until(lambda: staged.exists() and staged.stat().st_size > 1 << 20)
                        os.kill(process.pid, signal.SIGKILL)
                    yield content[start : start + (1 << 16)]

            with pytest.raises(httpx.TransportError):
                send(client, place, broken())
            process.wait(10)
        process = serve(port)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            offset = int(client.head(place, headers=TUS).headers["Upload-Offset"])
            assert 1 << 20 < offset < len(content)
            # Broken off once more, by a client that goes away in the middle.
            with socket.create_connection(("127.0.0.1", port)) as plain:
                head = f"PATCH {place} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                head += "".join(f"{name}: {value}\r\n" for name, value in SENDING.items())
                head += f"Upload-Offset: {offset}\r\nContent-Length: {len(content) - offset}\r\n"
                plain.sendall(head.encode() + b"\r\n" + content[offset : offset + 700_000])
                time.sleep(0.3)
            for _ in range(100):
                offset = int(client.head(place, headers=TUS).headers["Upload-Offset"])
                answered = send(client, place, content[offset:], offset)
                if answered.status_code not in (423, 409):
                    break
                time.sleep(0.05)
            assert answered.status_code == 204
            shown = client.get(f"/api/v1/uploads/{upload['id']}").json()["data"]["files"][0]
            assert shown["kind"] == "image"
            assert staged.read_bytes() == content
    finally:
        process.kill()
        process.wait(10)


def test_sync_stages_an_image_with_its_annotations(web, project, database, tmp_path, monkeypatch):
    """Without a worker nothing is left; what would be committed is looked at by the flow's test."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    box = {"center_x": 0.5, "center_y": 0.5, "width": 0.25, "height": 0.5}
    labels = json.dumps([{"class_name": "mussel", "box": box}])
    address = f"/api/v1/projects/{project.id}/sync"

    def sync(name="bay/a.png", content=None, **form):
        files = {"image": ("x", content or png(tmp_path))}
        return web.post(address, data={"name": name, **form}, files=files)

    answered = sync(annotations=labels, options='{"generate": {"augmentations": ["hflip"]}}')
    assert answered.status_code == 503, answered.text
    assert sync(annotations='[{"class_name": "mussel"}]').status_code == 422
    assert sync(annotations="{").status_code == 422
    assert sync(name="../a.png").status_code == 422
    assert sync(name="a.txt").status_code == 422
    assert sync(content=b"<html>").status_code == 422
    assert web.get(f"/api/v1/projects/{project.id}/uploads").json()["data"]["items"] == []
