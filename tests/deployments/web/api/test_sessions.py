"""Sessions over HTTP: every filter by pages, what people say, images by placeholder."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from storage.sessions.queries import SessionFilter, list_sessions
from tests.session_folders import make_session, manifest
from tests.storage.session_rows import BEGUN, add_sessions, stats

SESSIONS = "/api/v1/sessions"


def listed(web, **values):
    """The ids of all sessions of a filter, three at a time."""
    found, cursor = [], None
    while True:
        given = {**values, "limit": 3} | ({} if cursor is None else {"cursor": cursor})
        answered = web.get(SESSIONS, params=given)
        assert answered.status_code == 200, answered.text
        data = answered.json()["data"]
        found += [one["session_id"] for one in data["items"]]
        cursor = data["next"]
        if cursor is None:
            return found


def test_every_filter_gives_what_the_command_line_gives_page_by_page(web, database):
    rows = [(f"s{number:02}", stats(number)) for number in range(24)]
    # Several of one time, and several of none.
    rows += [(f"same{n}", stats(n, session_created_at=BEGUN)) for n in range(5)]
    rows += [(f"none/{n}", stats(n, session_created_at=None, is_ongoing=True)) for n in range(5)]
    add_sessions(database, rows)
    web.patch(f"{SESSIONS}/s03", json={"add_tags": ["keep"]})
    since = BEGUN + timedelta(hours=5)
    for values, chosen in (
        ({}, SessionFilter()),
        ({"model": "model_3"}, SessionFilter(model="model_3")),
        ({"incomplete": True}, SessionFilter(incomplete=True)),
        ({"sweeps": True}, SessionFilter(sweeps=True)),
        ({"ongoing": True}, SessionFilter(ongoing=True)),
        ({"since": since.isoformat()}, SessionFilter(since=since)),
        ({"since": "2025-01-01T05:00:00"}, SessionFilter(since=since)),
        ({"tag": "keep"}, SessionFilter(tag="keep")),
        ({"root": "/sessions"}, SessionFilter(root="/sessions")),
        ({"root": "/else", "missing": True}, SessionFilter(root="/else", include_missing=True)),
        ({"tag": "a\0b"}, SessionFilter(tag="ab")),
    ):
        wanted = [one["session_id"] for one in list_sessions(database, chosen, limit=None)]
        assert listed(web, **values) == wanted, values
        assert len(set(wanted)) == len(wanted)
    assert len(listed(web)) == 34 and listed(web, tag="keep") == ["s03"]


def test_what_people_say_of_a_session(web, database):
    add_sessions(database, [("deep/one", stats())])
    place = f"{SESSIONS}/deep/one"
    told = web.get(place).json()["data"]
    assert (told["tags"], told["flags"], told["rating"], told["note"]) == ([], [], None, "")
    edits = (
        ({"add_tags": ["b", "a", "b"], "rating": 4}, (["b", "a"], [], 4, "")),
        (
            {"add_flags": ["odd"], "remove_tags": ["b"], "note": "sharp"},
            (["a"], ["odd"], 4, "sharp"),
        ),
        ({"add_flags": ["late"], "remove_flags": ["odd"]}, (["a"], ["late"], 4, "sharp")),
        ({"rating": None}, (["a"], ["late"], None, "sharp")),
        ({"note": ""}, (["a"], ["late"], None, "")),
        ({}, (["a"], ["late"], None, "")),
    )
    for body, wanted in edits:
        told = web.patch(place, json=body).json()["data"]
        assert (told["tags"], told["flags"], told["rating"], told["note"]) == wanted
    assert web.get(place).json()["data"] == told
    for body in ({"rating": 6}, {"add_tags": [" "]}, {"tags": ["x"]}, {"note": 3}):
        assert web.patch(place, json=body).status_code == 422
    for method in ("GET", "PATCH"):
        refused = web.request(method, f"{SESSIONS}/deep/two", json={})
        assert refused.status_code == 404 and refused.json()["message"]


@pytest.fixture
def folder(database, tmp_path):
    """A session of two moods and two angles, of which the last image is missing."""
    document = manifest(variations={"Mood": ["glad", "sad"], "Angle": ["front", "side"]})
    moods = [("glad", "front"), ("glad", "side"), ("sad", "front"), ("sad", "side")]
    document["images"] = [
        {
            "filename": f"out/image_{number:04}.png",
            "seed": 40 + number,
            "prompt": "a cat",
            "applied_variations": {"Mood": mood, "Angle": angle},
        }
        for number, (mood, angle) in enumerate(moods)
    ]
    folder = make_session(tmp_path, "cats", document, images=3)
    add_sessions(database, [("cats", stats(session_path=str(folder)))], root=str(tmp_path))
    return folder


def test_images_of_a_session_by_the_value_of_a_placeholder(web, folder):
    def images(**values):
        answered = web.get("/api/v1/session-images", params={"session_id": "cats", **values})
        assert answered.status_code == 200, answered.text
        return answered.json()["data"]

    everything = images()
    assert [(one["name"], one["seed"]) for one in everything["items"]] == [
        (f"image_{number:04}.png", 40 + number) for number in range(3)
    ]
    assert everything["placeholders"] == {
        "Mood": [{"value": "glad", "image_count": 2}, {"value": "sad", "image_count": 1}],
        "Angle": [{"value": "front", "image_count": 2}, {"value": "side", "image_count": 1}],
    }
    fronts = images(placeholder="Angle", value="front", limit=1)
    assert [one["values"]["Mood"] for one in fronts["items"]] == ["glad"]
    behind = images(placeholder="Angle", value="front", limit=1, cursor=fronts["next"])
    assert [one["values"]["Mood"] for one in behind["items"]] == ["sad"] and not behind["next"]
    assert images(placeholder="Hair")["items"] == []

    # Cut while it is written: what is whole before it counts.
    whole = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(whole[: whole.index("image_0002")])
    assert [one["values"]["Angle"] for one in images()["items"]] == ["front", "side"]
    (folder / "manifest.json").unlink()
    refused = web.get("/api/v1/session-images", params={"session_id": "cats"})
    assert refused.status_code == 404 and "manifest" in refused.json()["message"]
    values = {"session_id": "cats", "value": "glad"}
    assert web.get("/api/v1/session-images", params=values).status_code == 422


def test_a_refresh_needs_a_folder_that_may_be_read_and_a_worker(web, database, home, tmp_path):
    place = f"{SESSIONS}/stats/refresh"
    assert "VISIONFLOWS_SESSIONS_ROOT" in web.post(place).json()["message"]
    refused = web.post(place, json={"sessions_root": str(tmp_path)})
    assert refused.status_code == 422 and "VISIONFLOWS_DATA_ROOTS" in refused.json()["message"]
    (home / "sessions").mkdir(parents=True)
    refused = web.post(place, json={"sessions_root": str(home / "sessions")})
    assert refused.status_code == 503 and "visionflows up" in refused.json()["message"]
    assert json.loads(refused.text)["success"] is False
    assert database.rows("SELECT id FROM jobs") == []
