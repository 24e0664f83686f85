"""Pages of sessions: lists, a contact sheet, the grid of variations, what people say."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urlencode

import pytest
from PIL import Image

from storage.inference.run_images import RunImageSort, list_run_images
from storage.inference.runs import find_run
from tests.deployments.web.api.run_rows import add_run
from tests.session_folders import make_session, manifest
from tests.storage.session_rows import add_sessions, stats

PAGE = {"Accept": "text/html", "Origin": "http://127.0.0.1:4201"}
NAME = "deep/<b>one & 'two'"


@pytest.fixture
def session(database, tmp_path):
    """A session of six images of two placeholders, and one image that its manifest lacks."""
    document = manifest(variations={"Mood": ["calm", "angry"], "Place": ["sea", "<i>hill"]})
    document["images"] = [
        {
            "filename": f"image_{number:04}.png",
            "seed": 7 + number,
            "applied_variations": {
                "Mood": ("calm", "angry")[number % 2],
                "Place": ("sea", "<i>hill")[number // 3],
            },
        }
        for number in range(6)
    ]
    folder = make_session(tmp_path, "shots", document, images=7)
    for path in folder.glob("*.png"):
        Image.new("RGB", (40, 30), (10, 20, 30)).save(path)
    add_sessions(database, [(NAME, stats(session_path=str(folder)))])
    return folder


def images_of(text):
    return [
        unescape(one)
        for one in re.findall(r'src="/api/v1/session-images/thumbnail\?([^"]+)"', text)
    ]


def test_a_contact_sheet_a_grid_and_pictures_by_name(web, session):
    listed = web.get("/sessions", headers=PAGE).text
    (place,) = re.findall(r'href="(/sessions/deep/[^"]+)"', listed)
    text = web.get(place, headers=PAGE).text
    names = sorted(path.name for path in session.iterdir() if path.suffix == ".png")
    assert len(images_of(text)) == len(names) and "<b>one" not in text
    picture = "/api/v1/session-images/"
    for query in images_of(text):
        small = web.get(f"{picture}thumbnail?{query}")
        assert (small.status_code, small.headers["content-type"]) == (200, "image/webp")
        whole = web.get(f"{picture}original?{query}")
        name = whole.headers["content-disposition"]
        assert whole.content.startswith(b"\x89PNG") and "inline" in name
    grid = web.get("/session-grid", params={"session_id": NAME}, headers=PAGE).text
    assert len(images_of(grid)) == 6 and "&lt;i&gt;hill" in grid and "<i>hill" not in grid
    again = web.get(
        "/session-grid",
        params={"session_id": NAME, "rows": "#seed", "columns": "#seed"},
        headers=PAGE,
    )
    assert again.status_code == 200 and len(images_of(again.text)) > 0


@pytest.mark.parametrize("name", ["grid", "edit", "compare", "#1 ?"])
def test_any_word_may_be_a_session_and_any_word_a_placeholder(web, database, tmp_path, name):
    document = manifest(variations={"seed": ["calm", "angry"], "#seed": ["sea", "hill"]})
    document["images"] = [
        {
            "filename": f"image_{number:04}.png",
            "seed": 7 + number,
            "applied_variations": {
                "seed": ("calm", "angry")[number % 2],
                "#seed": ("sea", "hill")[number // 2],
            },
        }
        for number in range(4)
    ]
    folder = make_session(tmp_path, "shots", document, images=4)
    add_sessions(database, [(name, stats(session_path=str(folder)))])
    (place,) = re.findall(r'href="(/sessions/[^"]+)"', web.get("/sessions", headers=PAGE).text)
    assert "Contact sheet" in web.get(place, headers=PAGE).text

    def heads(rows, columns):
        query = {"session_id": name, "rows": rows, "columns": columns}
        text = web.get("/session-grid", params=query, headers=PAGE).text
        return re.findall(r'<th scope="(?:col|row)"[^>]*>([^<]+)</th>', text)[1:]

    assert heads("seed", "##seed") == ["sea", "hill", "calm", "angry"]
    assert heads("#seed", "seed") == ["calm", "angry", "7", "8", "9", "10"]


def test_home_has_a_picture_of_each_session_and_run(web, database, session):
    add_sessions(database, [("gone", stats(session_path=str(session.parent / "nowhere")))])
    run = find_run(database, str(add_run(database)))
    text = web.get("/", headers=PAGE).text
    (cover,) = images_of(text)
    first = min(path.name for path in session.glob("*.png"))
    assert cover == urlencode({"session_id": NAME, "name": first})
    most = list_run_images(database, run.id, sort=RunImageSort.OBJECTS, limit=1)[0][1]
    assert f"/collections/{run.collection_id}/images/{most.image_id}/thumbnail" in text


def test_only_images_of_the_folder_are_served(web, session):
    (session.parent / "secret.png").write_bytes(b"HIDDEN")
    (session / "link.png").symlink_to(session.parent / "secret.png")
    (session / "notes.txt").write_text("HIDDEN")
    for name in (
        "../secret.png",
        "link.png",
        "notes.txt",
        "manifest.json",
        "gone.png",
        "a\0.png",
        "",
    ):
        for kind in ("thumbnail", "original"):
            answer = web.get(
                f"/api/v1/session-images/{kind}", params={"session_id": NAME, "name": name}
            )
            assert answer.status_code in (404, 422), name
            assert b"HIDDEN" not in answer.content


def test_rating_tags_and_note_by_form(web, session):
    def edit(**values):
        answer = web.post(
            "/session-edit",
            data={"session_id": NAME, **values},
            headers=PAGE,
            follow_redirects=False,
        )
        assert answer.status_code == 303, answer.text
        return web.get(answer.headers["location"], headers=PAGE).text

    assert 'value="4" aria-label="4 of 5" class="first"' in edit(rating="4")
    assert "keep &amp; see" in edit(add_tag="keep & see")
    assert "sharp &lt;i&gt;" in edit(note="sharp <i>")
    assert "Remove the flag &lt;i&gt;blurred" in edit(add_flag="<i>blurred")
    assert "&lt;i&gt;blurred" in web.get("/sessions", headers=PAGE).text
    assert "&lt;i&gt;blurred" not in edit(remove_flag="<i>blurred")
    told = web.get(f"/api/v1/sessions/{NAME}").json()["data"]
    assert (told["rating"], told["tags"], told["note"]) == (4, ["keep & see"], "sharp <i>")
    edit(rating="0")
    edit(remove_tag="keep & see")
    told = web.get(f"/api/v1/sessions/{NAME}").json()["data"]
    assert (told["rating"], told["tags"], told["note"]) == (None, [], "sharp <i>")
    listed = web.get("/sessions", params={"tag": "keep & see"}, headers=PAGE).text
    assert "No session is like that" in listed
