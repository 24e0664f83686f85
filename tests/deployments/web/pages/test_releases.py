"""Pages of releases: what is stored of one, and two of them side by side."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from storage.releases import register_release, store_statistics
from tests.storage.test_releases import STATISTICS

PAGE = {"Accept": "text/html", "Origin": "http://127.0.0.1:4201"}
HOSTILE = "<script>x</script>"


def shapes(live, dead):
    """What is stored of a release with so many objects of two classes."""
    return {
        "source": "scan",
        "class_ids": [0, 1],
        "unsplit_image_count": 3,
        "histogram_edges": {"area": [0.0, 0.1, 1.0], "objects_per_image": [0.0, 1.0, 2.0]},
        "splits": [{"split": "train", "objects_per_image": [2, 6]}],
        "classes": [
            {
                "split": "train",
                "class_id": number,
                "class_name": name,
                "geometry": "box",
                "instances": count,
                "images": 1,
                "trainable_instances": count,
                "histograms": {"area": [count - 1, 1]},
            }
            for number, (name, count) in enumerate(((HOSTILE, live), ("dead", dead)))
        ],
    }


@pytest.fixture
def releases(database, tmp_path):
    made = []
    for name, counts in (("one", (7, 4)), ("two", (9, 1))):
        release = register_release(database, tmp_path / f"{name}.zip", name=name)
        statistics = replace(STATISTICS, classes=[HOSTILE, "dead"], shapes=shapes(*counts))
        with database.transaction() as connection:
            store_statistics(connection, release.id, statistics)
        made.append(release)
    return made


def test_a_release_shows_what_is_stored(web, releases):
    listed = web.get("/releases", headers=PAGE).text
    assert all(f'href="/releases/{one.id}"' in listed for one in releases)
    text = web.get("/releases/one", headers=PAGE).text
    assert "<script>x" not in text and "&lt;script&gt;x" in text
    for name, number in (("train", 8), ("val", 2), ("unsplit", 3)):
        assert f"<title>{name}: {number}</title>" in text
    widths = [
        float(one)
        for one in re.findall(
            r'<rect class="(?:train|val|test|unsplit)"[^>]*width="([\d.]+)"', text
        )
    ]
    assert sum(widths) == pytest.approx(100)
    assert "Area of objects, of the image&#39;s 0 to 0.1: 9" in text
    assert "Objects of an image 1 to 2: 6" in text
    assert STATISTICS.problems[0]["code"] in text
    assert web.get("/releases/three", headers=PAGE).status_code == 404


def test_two_releases_side_by_side(web, database, releases, tmp_path):
    pair = {"release": [str(one.id) for one in releases]}
    text = web.get("/releases/compare", params=pair, headers=PAGE).text
    cell = r"<td[^>]*>([^<]*)</td>"
    rows = re.findall(rf'<th scope="row"[^>]*>([^<]+)</th>{cell}{cell}{cell}', text)
    assert ("&lt;script&gt;x&lt;/script&gt;", "7", "9", "+2") in rows
    assert ("dead", "4", "1", "-3") in rows and ("train", "8", "8", "0") in rows
    register_release(database, tmp_path / "new.zip", name="new")
    text = web.get("/releases/compare", params={"a": "one", "b": "new"}, headers=PAGE).text
    assert ("dead", "4", "–", "–") in re.findall(
        rf'<th scope="row"[^>]*>([^<]+)</th>{cell}{cell}{cell}', text
    )
    assert web.get("/releases/compare", params={"a": "one"}, headers=PAGE).status_code == 422


def test_without_a_server_a_recount_says_what_starts_one(web, releases):
    refused = web.post("/releases/one/recount", headers=PAGE)
    assert refused.status_code == 503 and "no Prefect server is running" in refused.text
