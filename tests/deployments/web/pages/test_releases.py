"""Pages of releases: what is stored of one, and two of them side by side."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from PIL import Image

from storage.releases import register_release, store_statistics
from tasks.releases.problems import problem_as_json
from tasks.releases.scan import scan_release
from tests.storage.test_releases import STATISTICS
from tests.tasks.releases.archives import sound_dataset, write_zip

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


def leaky_archive(path):
    """A real picture in two splits, a label with a wrong row, and one whose picture is none."""
    picture = io.BytesIO()
    Image.new("RGB", (80, 40), (90, 120, 60)).save(picture, "JPEG")
    files = sound_dataset()
    files |= dict.fromkeys(("images/train/a.jpg", "images/val/c.jpg"), picture.getvalue())
    files["labels/train/a.txt"] = b"0 0.5 0.5 0.2 0.5\n7 0.25 0.5 0.1 0.5\n"
    files["labels/train/b.txt"] = b"0 0.5 0.5 0.2 \n"
    return write_zip(path, files)


def test_problems_have_the_picture_and_the_row_that_they_are_about(web, database, tmp_path):
    archive = leaky_archive(tmp_path / "leaky.zip")
    release = register_release(database, archive, name="leaky")
    scanned = scan_release(archive)
    statistics = replace(
        STATISTICS,
        classes=["cat", "dog"],
        shapes=shapes(7, 4),
        problems=[problem_as_json(one) for one in scanned.problems],
    )
    with database.transaction() as connection:
        store_statistics(connection, release.id, statistics)
    text = web.get("/releases/leaky", params={"problem": "class_out_of_range"}, headers=PAGE).text
    # A box of 0.1 by 0.5 around (0.25, 0.5) of 80 by 40 pixels.
    assert '<polygon points="16.0,10.0 24.0,10.0 24.0,30.0 16.0,30.0 "/>' in text
    assert '<code dir="auto">7 0.25 0.5 0.1 0.5</code>' in text and "a.txt, line 2" in text
    text = web.get("/releases/leaky", params={"problem": "split_leak_exact"}, headers=PAGE).text
    address = r"/api/v1/releases/[^/]+/members/\d+/thumbnail\?v=\w+"
    assert text.count('<li class="pair">') == 1
    pair = re.findall(address, text)
    assert len(pair) == 2
    for one in pair:
        answer = web.get(one)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
        assert Image.open(io.BytesIO(answer.content)).size == (80, 40)
        original = web.get(one.replace("/thumbnail", "/original"))
        assert original.headers["content-type"] == "image/jpeg"
    every = web.get("/releases/leaky", headers=PAGE).text
    assert len(re.findall('<span class="tag warn">', every)) == len(scanned.problems)
    small = web.get(re.search(address, every.replace(pair[0], "").replace(pair[1], ""))[0])
    assert "x-no-picture" in small.headers
    assert web.get("/api/v1/releases/leaky/members/0/thumbnail").status_code == 404
    assert web.get("/api/v1/releases/leaky/members/99/original").status_code == 404
    archive.unlink()
    gone = web.get("/releases/leaky", headers=PAGE)
    assert gone.status_code == 200 and "<polygon" not in gone.text and "a.txt, line 2" in gone.text
    assert web.get(pair[0].replace("thumbnail", "original")).status_code in (404, 422)


def test_two_releases_side_by_side(web, database, releases, tmp_path):
    pair = {"release": [str(one.id) for one in releases]}
    text = web.get("/releases/compare", params=pair, headers=PAGE).text
    cell = r"<td[^>]*>([^<]*)</td>"
    rows = re.findall(rf'<th scope="row"[^>]*>([^<]+)</th>{cell}{cell}{cell}', text)
    assert ("&lt;script&gt;x&lt;/script&gt;", "7", "9", "+2") in rows
    assert ("dead", "4", "1", "-3") in rows and ("train", "8", "8", "0") in rows
    # The line over the bars: 8 of 10 objects of B are small, 9 of 11 of A.
    assert "Area of objects, of the image&#39;s 0 to 0.1: A 81.8\u202f%, B 80.0\u202f%" in text
    assert '<polyline class="over"' in text
    register_release(database, tmp_path / "new.zip", name="new")
    text = web.get("/releases/compare", params={"a": "one", "b": "new"}, headers=PAGE).text
    assert ("dead", "4", "–", "–") in re.findall(
        rf'<th scope="row"[^>]*>([^<]+)</th>{cell}{cell}{cell}', text
    )
    assert web.get("/releases/compare", params={"a": "one"}, headers=PAGE).status_code == 422


def test_without_a_server_a_recount_says_what_starts_one(web, releases):
    refused = web.post("/releases/one/recount", headers=PAGE)
    assert refused.status_code == 503 and "no Prefect server is running" in refused.text
