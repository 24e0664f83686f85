"""Files to send: whole in themselves, with names as text, and as the pages say."""

from __future__ import annotations

import base64
import re
import shutil
from dataclasses import replace

import pytest
from PIL import Image

from deployments.web.files.sent_reports import MOST_PICTURES
from storage.database.connection import execute
from storage.projects.projects import add_project
from storage.releases import register_release, store_statistics
from tasks.releases.problems import problem_as_json
from tasks.releases.scan import scan_release
from tests.deployments.web.api.run_rows import FOUND, add_run
from tests.deployments.web.pages.test_releases import leaky_archive
from tests.session_folders import make_session, manifest
from tests.storage.session_rows import add_sessions, stats
from tests.storage.test_releases import STATISTICS


@pytest.fixture
def pictures(tmp_path):
    """A folder of small pictures, one of which is damaged."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in FOUND:
        Image.new("RGB", (40, 30), (200, 20, 30)).save(folder / name)
    (folder / "b.jpg").write_bytes(b"no picture")
    return folder


def check_whole(text, pictures):
    """Nothing is fetched, and so many pictures are inside."""
    found = re.findall(r'<img src="data:image/(?:webp|jpeg);base64,([^"]+)"', text)
    assert len(found) == pictures
    assert all(base64.b64decode(one)[8:12] == b"WEBP" for one in found)
    assert not re.search(r'(?:src|href)="(?!data:)', text) and "<script" not in text


def test_a_run_and_a_session_as_one_file(web, database, pictures, tmp_path):
    run = add_run(database, name="<script>bay")
    with database.transaction() as connection:
        for name in FOUND:
            status = (pictures / name).stat()
            execute(
                connection,
                "UPDATE collection_images SET file_path = :path, file_size = :size, "
                "modified_at_ns = :changed WHERE name = :name",
                path=str(pictures / name),
                size=status.st_size,
                changed=status.st_mtime_ns,
                name=name,
            )
    sent = web.get("/report", params={"noun": "run", "key": str(run)})
    assert sent.headers["content-disposition"].startswith("attachment")
    check_whole(sent.text, 3)
    assert "&lt;script&gt;bay" in sent.text and "a.jpg: 1 dead, 1 live" in sent.text

    folder = make_session(tmp_path, "shots", manifest(), images=MOST_PICTURES + 5)
    add_sessions(database, [("shots", stats(session_path=str(folder)))])
    text = web.get("/report", params={"noun": "session", "key": "shots"}).text
    check_whole(text, MOST_PICTURES)
    assert f"Pictures of {MOST_PICTURES} of {MOST_PICTURES + 5} images" in text
    shutil.rmtree(folder)
    gone = web.get("/report", params={"noun": "session", "key": "shots"}).text
    check_whole(gone, 0)
    assert "cannot be read" in gone
    add_project(database, "empty", tmp_path / "empty")
    check_whole(web.get("/report", params={"noun": "project", "key": "empty"}).text, 0)
    for noun, key in (("release", "gone"), ("run", "ffff"), ("project", "gone"), ("session", "x")):
        assert web.get("/report", params={"noun": noun, "key": key}).status_code == 404
    assert web.get("/report", params={"noun": "house", "key": "x"}).status_code == 422


def test_the_command_writes_each_noun(invoke, database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive = leaky_archive(tmp_path / "leaky.zip")
    release = register_release(database, archive, name="leaky")
    problems = [problem_as_json(one) for one in scan_release(archive).problems]
    with database.transaction() as connection:
        store_statistics(connection, release.id, replace(STATISTICS, problems=problems))
    run = add_run(database, name="bay")
    folder = make_session(tmp_path, "shots", manifest(), images=2)
    add_sessions(database, [("shots", stats(session_path=str(folder)))])
    add_project(database, "empty", tmp_path / "empty")
    keys = {"release": "leaky", "run": str(run), "session": "shots", "project": "empty"}
    for noun, key in keys.items():
        done = invoke("report", noun, key)
        assert done.status == 0, done.errors
        text = (tmp_path / f"{noun}-{key}.html").read_text()
        assert not re.search(r'(?:src|href)="(?!data:)', text) and "<script" not in text
    text = (tmp_path / "release-leaky.html").read_text()
    # Both pictures of the leak, and the row of an unknown class as a shape: 80 by 40 at 256.
    assert text.count("<figcaption>split_leak_exact: ") == 1 and 'd="M51.2 32.0 76.8 32.0' in text
    assert "7 0.25 0.5 0.1 0.5" in text
    archive.unlink()
    again = invoke("report", "release", "leaky", "--output", "again.html")
    assert again.status == 0 and "does not exist" in (tmp_path / "again.html").read_text()
    assert invoke("report", "run", "ffff").is_one_sentence()
