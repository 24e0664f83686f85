"""Releases over HTTP: lists by pages, statistics, downloads in parts, removal."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from storage.projects.projects import add_project
from storage.releases import list_releases, register_release, store_statistics
from tests.storage.test_releases import STATISTICS

RELEASES = "/api/v1/releases"
CONTENT = bytes(range(256)) * 4


@pytest.fixture
def release(database, home):
    """A release with statistics and an archive that lies where visionflows writes them."""
    path = home / "releases" / "mussels.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    project = add_project(database, "gulls", home)
    made = register_release(database, path, name="mussels", project_id=project.id)
    statistics = replace(STATISTICS, shapes={"unsplit_image_count": 3, "objects": {"open": 5}})
    with database.transaction() as connection:
        store_statistics(connection, made.id, statistics)
    return made


def test_releases_are_listed_by_pages_and_shown_with_their_statistics(
    web, database, release, tmp_path
):
    for name in ("b", "Z", "ä"):
        register_release(database, tmp_path / f"{name}.zip")
    found, cursor = [], None
    while True:
        values = {"limit": 2} | ({} if cursor is None else {"cursor": cursor})
        data = web.get(RELEASES, params=values).json()["data"]
        found += [one["name"] for one in data["items"]]
        cursor = data["next"]
        if cursor is None:
            break
    assert found == [one.name for one in list_releases(database)] == ["Z", "b", "mussels", "ä"]
    (listed,) = web.get(RELEASES, params={"project": "gulls"}).json()["data"]["items"]
    told = web.get(f"{RELEASES}/mussels").json()["data"]
    assert told.items() >= listed.items()
    assert (told["train_image_count"], told["class_count"]) == (8, 2)
    assert told["split_counts"] == {"train": 8, "val": 2, "test": 0, "unsplit": 3}
    assert told["classes_json"][0] == "open" and told["shapes_json"]["objects"] == {"open": 5}
    assert told["problems"][0]["code"] == "x"
    uncounted = web.get(f"{RELEASES}/b").json()["data"]
    assert uncounted["classes_json"] is None and uncounted["stats_status"] == "pending"
    assert web.get(f"{RELEASES}/{uuid4()}").status_code == 404


def test_an_archive_is_downloaded_whole_and_in_parts(web, database, release, tmp_path):
    place = f"{RELEASES}/{release.id}/download"

    def get(wanted):
        return web.get(place, headers={} if wanted is None else {"Range": wanted})

    whole = get(None)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert whole.headers["content-type"] == "application/zip"
    assert whole.headers["content-disposition"] == 'attachment; filename="mussels.zip"'
    for wanted, part, said in (
        ("bytes=0-9", CONTENT[:10], "bytes 0-9/1024"),
        ("bytes=1000-", CONTENT[1000:], "bytes 1000-1023/1024"),
        ("bytes=-5", CONTENT[-5:], "bytes 1019-1023/1024"),
        ("bytes=1020-9999", CONTENT[1020:], "bytes 1020-1023/1024"),
    ):
        answered = get(wanted)
        assert (answered.status_code, answered.content) == (206, part)
        assert answered.headers["content-range"] == said
    for odd in ("bytes=9-1", "lines=1-2", "bytes=", "bytes=-", "bytes=a-b", "bytes=0-1,5-6"):
        answered = get(odd)
        assert (answered.status_code, answered.content) == (200, CONTENT)
    for beyond in ("bytes=1024-", "bytes=-0"):
        refused = get(beyond)
        assert refused.status_code == 416 and not refused.json()["success"]
        assert refused.headers["content-range"] == "bytes */1024"
    gone = register_release(database, tmp_path / "gone.zip")
    assert web.get(f"{RELEASES}/{gone.id}/download").status_code == 404


def test_what_cannot_be_made_is_refused_and_leaves_nothing(web, database, release, tmp_path):
    body = {"project": "gulls", "name": "new"}
    for wrong, status, words in (
        ({"project": "crabs"}, 404, "crabs"),
        ({"name": "a/b"}, 422, "has a slash"),
        ({"output": str(tmp_path / "elsewhere.zip")}, 422, "VISIONFLOWS_DATA_ROOTS"),
        ({"train": 0.9, "val": 0.9}, 422, "add up to"),
        ({"task": "draw"}, 422, "task"),
        ({}, 503, "visionflows up"),
    ):
        refused = web.post(RELEASES, json={**body, **wrong})
        assert refused.status_code == status, refused.text
        assert words in refused.json()["message"]
    assert web.post(f"{RELEASES}/mussels/recount").status_code == 503
    assert web.post(f"{RELEASES}/mussels/recount", json={"forse": True}).status_code == 422
    assert database.rows("SELECT id FROM jobs") == []


def test_a_release_is_removed_as_it_was_said(web, database, release):
    planned = web.get(f"{RELEASES}/mussels/removal").json()["data"]
    assert not planned["removed"] and planned["rows"]["releases"] == 1
    assert web.delete(f"{RELEASES}/mussels").json()["data"]["removed"]
    assert list_releases(database) == [] and web.get(f"{RELEASES}/mussels").status_code == 404
