"""Pages of runs: counts at a threshold, images in every order, two runs side by side."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import pytest

from storage.database.connection import execute
from storage.inference.collections import CollectionFile, fill_collection, find_collection
from storage.inference.kept_counts import load_kept_counts
from storage.projects.images import RegisteredFile
from tests.deployments.web.api.run_rows import FOUND, add_run

PAGE = {"Accept": "text/html"}
HOSTILE = "<script>alert(1)</script> \"'&amp; ‮gpj.exe"


@pytest.fixture
def run(database):
    return add_run(database)


class _Reader(HTMLParser):
    """Elements with their attributes, and the texts of cells that say what they count."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.counts, self._cell = [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        self._cell = attributes.get("data-count") or attributes.get("data-sum")

    def handle_data(self, text):
        if self._cell is not None:
            self.counts.setdefault(self._cell, text)
            self._cell = None


def read(web, path, **values):
    answer = web.get(path, params=values, headers=PAGE)
    assert answer.status_code == 200, answer.text
    assert "style=" not in answer.text and "<script>" not in answer.text
    return answer.text, _Reader(answer.text)


def names_of(text):
    return [unescape(name) for name in re.findall(r'dir="auto" title="([^"]*)"', text)]


def test_lists_of_runs_collections_and_models(web, run):
    text, read_page = read(web, "/runs")
    assert f"/runs/{run}" in [values.get("href") for _, values in read_page.tags]
    assert "1 live, 1 dead" in text
    assert "No run" not in text and ">bay<" in read(web, "/collections")[0]
    assert "5" * 64 in read(web, "/models")[0]
    assert ">bay<" in read(web, "/runs", collection="bay")[0]
    missing = web.get("/runs", params={"collection": "sea"}, headers=PAGE)
    assert missing.status_code == 404 and "There is no collection" in unescape(missing.text)


@pytest.mark.parametrize("threshold", [None, 0, 0.062, 0.063, 0.25, 0.5, 0.75, 0.938, 1])
def test_counts_at_a_threshold_are_there_without_scripts(web, run, threshold):
    values = {} if threshold is None else {"threshold": threshold}
    counts = read(web, f"/runs/{run}", **values)[1].counts
    above = 0.5 if threshold is None else threshold
    wanted = dict.fromkeys(("live", "dead", "shell"), 0)
    for objects in FOUND.values():
        for class_id, confidence in objects or ():
            wanted[("live", "dead", "shell")[class_id]] += confidence > above
    found = {name: int(counts[name]) for name in wanted}
    assert found == wanted
    assert int(counts["all"]) == sum(wanted.values())


def test_images_in_every_order_and_one_of_them(web, database, run):
    page = f"/runs/{run}"
    assert names_of(read(web, page)[0]) == list(FOUND)
    assert names_of(read(web, page, sort="object_count")[0])[0] == "a.jpg"
    assert names_of(read(web, page, sort="doubtful_count")[0])[0] == "d.jpg"
    assert names_of(read(web, page, failed="true")[0]) == ["c.jpg"]
    assert "c.jpg: it is cut" in read(web, page)[0]
    images = web.get(f"/api/v1/runs/{run}/images").json()["data"]["items"]
    text, read_page = read(web, f"{page}/images/{images[0]['image_id']}", threshold=0.5)
    shapes = [
        (values["data-class"], float(values["data-confidence"]), "below" in values["class"])
        for tag, values in read_page.tags
        if tag == "g" and "data-class" in values
    ]
    # The most confident is drawn last, on top.
    assert shapes == [("live", 0.25, True), ("dead", 0.75, False), ("live", 0.9375, False)]
    assert "M75.0 10.0 95.0 10.0 95.0 40.0 75.0 40.0 Z" in text
    assert read_page.counts == {"dead": "1", "live": "1", "all": "2"}
    links = {values.get("rel"): values["href"] for tag, values in read_page.tags if tag == "a"}
    assert links["next"].startswith(f"{page}/images/{images[1]['image_id']}")
    assert "prev" not in links
    failed, _ = read(web, f"{page}/images/{images[2]['image_id']}")
    assert "c.jpg: it is cut" in failed


def test_what_was_counted_at_every_threshold_goes_when_the_collection_changes(database, run):
    with database.transaction() as connection:
        execute(connection, "UPDATE runs SET status = 'completed'")
    before = load_kept_counts(database, run)
    assert load_kept_counts(database, run) == before and before.images == 3
    collection = find_collection(database, "bay")
    (row,) = database.rows("SELECT kept_counts FROM runs WHERE id = :id", id=run)
    assert row[0]["images"] == 3
    file = RegisteredFile("a.jpg", 10, 1, "0" * 64, 200, 100, "JPEG")
    fill_collection(database, collection.id, [CollectionFile(file, "a.jpg", "/pictures/a.jpg")])
    (row,) = database.rows("SELECT kept_counts FROM runs WHERE id = :id", id=run)
    assert row[0] is None
    assert load_kept_counts(database, run).images == 1


def test_two_runs_side_by_side(web, database, run):
    other = add_run(database, 0.75)
    pair = {"a": str(run), "b": str(other)}
    text, _ = read(web, "/runs/compare", **pair)
    assert "3 images that both have done" in text
    assert names_of(text)[0] == "a.jpg"
    assert re.search(r">dead</th>.*?>1<.*?>0<.*?>-1<", text)
    images = web.get(f"/api/v1/runs/{run}/images").json()["data"]["items"]
    text, read_page = read(web, f"/runs/compare/{images[0]['image_id']}", **pair)
    alone = [
        float(values["data-confidence"])
        for tag, values in read_page.tags
        if tag == "g" and "alone" in values.get("class", "").split()
    ]
    assert alone == [0.75], "the other run counts above it"
    assert "it is cut" in read(web, f"/runs/compare/{images[2]['image_id']}", **pair)[0]
    chosen = web.get("/runs/compare", params={"run": [str(run), str(other)]}, headers=PAGE)
    assert chosen.status_code == 200
    one = web.get("/runs/compare", params={"run": str(run)}, headers=PAGE)
    assert one.status_code == 422 and "Choose two runs" in one.text


def test_hostile_names_are_only_text(web, database):
    run = add_run(database, name=HOSTILE)
    with database.transaction() as connection:
        for statement in (
            "UPDATE collection_images SET name = :name || repeat('x', 200) WHERE position = 0",
            "UPDATE models SET class_names = ARRAY[:name, 'dead', 'shell']",
        ):
            execute(connection, statement, name=HOSTILE)
    for path in ("/runs", "/collections", "/models", f"/runs/{run}"):
        text, read_page = read(web, path)
        assert HOSTILE in unescape(text)
        assert all(
            (values.get("src") or "").startswith("/static/")
            for tag, values in read_page.tags
            if tag == "script"
        )
    images = web.get(f"/api/v1/runs/{run}/images").json()["data"]["items"]
    text, _ = read(web, f"/runs/{run}/images/{images[0]['image_id']}")
    assert HOSTILE in unescape(text)
