"""Runs over HTTP: lists by pages, one image, any threshold, exports, removal."""

from __future__ import annotations

import csv
import io
import zipfile
from uuid import uuid4

import pytest

from storage.inference.runs import list_runs
from tests.deployments.web.api.run_rows import FLOOR, FOUND, add_run

RUNS = "/api/v1/runs"


@pytest.fixture
def run(database):
    return add_run(database)


def pages(web, path, **values):
    """All entries of a list, two at a time, each once."""
    found, cursor = [], None
    while True:
        values = {**values, "limit": 2} | ({} if cursor is None else {"cursor": cursor})
        data = web.get(path, params=values).json()["data"]
        assert len(data["items"]) <= 2
        found += data["items"]
        cursor = data["next"]
        if cursor is None:
            return found


def test_runs_are_listed_and_shown(web, database, run):
    others = [add_run(database, threshold, "sea") for threshold in (0.25, 0.75)]
    listed = pages(web, RUNS)
    assert {one["id"] for one in listed} == {str(one) for one in (run, *others)}
    assert [one["id"] for one in listed] == [str(one.id) for one in list_runs(database)]
    assert len(pages(web, RUNS, collection="sea")) == 2
    told = web.get(f"{RUNS}/{str(run)[:13]}").json()["data"]
    assert (told["collection"], told["model"], told["threshold"]) == ("bay", "m", 0.5)
    assert (told["processed_count"], told["failed_count"], told["total"]) == (3, 1, 4)
    assert (told["live_mussel_count"], told["dead_mussel_count"]) == (1, 1)
    assert told["failures"] == [{"name": "c.jpg", "reason": "c.jpg: it is cut"}]
    for key, status in ((str(uuid4()), 404), ("zzz", 404)):
        refused = web.get(f"{RUNS}/{key}")
        assert (refused.status_code, refused.json()["success"]) == (status, False)
    assert web.get(RUNS, params={"cursor": "eA"}).status_code == 422


def test_images_of_a_run_with_counts_errors_and_polygons(web, run):
    images = pages(web, f"{RUNS}/{run}/images")
    assert [one["name"] for one in images] == list(FOUND)
    assert [one["live_count"] for one in images] == [1, 0, None, 0]
    assert [one["name"] for one in pages(web, f"{RUNS}/{run}/images", failed="true")] == ["c.jpg"]
    assert len(pages(web, f"{RUNS}/{run}/images", failed="false")) == 3
    for sort, wanted in (
        ("object_count", [("a.jpg", 2), ("b.jpg", 0), ("d.jpg", 0)]),
        ("doubtful_count", [("d.jpg", 1), ("a.jpg", 0), ("b.jpg", 0)]),
    ):
        found = [(one["name"], one[sort]) for one in pages(web, f"{RUNS}/{run}/images", sort=sort)]
        assert found[0] == wanted[0] and sorted(found) == sorted(wanted)
    first, _, failed, _ = (f"{RUNS}/{run}/images/{one['image_id']}/polygons" for one in images)
    told = web.get(first).json()["data"]
    assert [(one["class"], one["confidence"]) for one in told["polygons"]] == [
        ("live", 0.9375),
        ("dead", 0.75),
    ]
    assert told["polygons"][1]["coords"][0] == [75, 10]
    assert told["polygons"][1]["bbox"] == [75, 10, 95, 40]
    everything = web.get(first, params={"threshold": 0}).json()["data"]
    assert (everything["live_count"], everything["dead_count"]) == (2, 1)
    assert "it is cut" in web.get(failed).json()["message"]
    assert web.get(f"{RUNS}/{run}/images/{uuid4()}/polygons").status_code == 404


def test_counts_at_any_threshold(web, run):
    curve = web.get(f"{RUNS}/{run}/curve").json()["data"]
    assert web.get(f"{RUNS}/{run}/curve").json()["data"] == curve, "and as it is kept"
    assert (curve["floor_confidence"], curve["image_count"]) == (FLOOR, 3)
    assert len(curve["thresholds"]) == 1001
    for step in (0, 62, 63, 250, 499, 500, 750, 937, 938, 1000):
        threshold = step / 1000
        assert curve["thresholds"][step] == threshold
        for class_id, name in enumerate(("live", "dead", "shell")):
            wanted = sum(
                own == class_id and confidence > threshold
                for objects in FOUND.values()
                for own, confidence in objects or ()
            )
            assert curve["classes"][name][step] == wanted
            if name != "shell":
                assert curve[name][step] == wanted


def test_a_run_is_exported_in_every_format(web, run):
    def export(kind, **values):
        return web.get(f"{RUNS}/{run}/export", params={"format": kind, **values})

    table = export("csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert table.headers["content-disposition"].endswith(f'"run-{str(run)[:8]}-csv.csv"')
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [(row["image"], row["objects"], row["error"]) for row in rows] == [
        ("a.jpg", "2", ""),
        ("b.jpg", "0", ""),
        ("c.jpg", "", "c.jpg: it is cut"),
        ("d.jpg", "0", ""),
    ]
    archive = zipfile.ZipFile(io.BytesIO(export("yolo", threshold=0.06).content))
    assert archive.namelist() == ["data.yaml", "a.txt", "b.txt", "d.txt"]
    assert len(archive.read("a.txt").splitlines()) == 3
    assert len(export("coco").json()["annotations"]) == 2
    assert [len(one["predictions"][0]["result"]) for one in export("label-studio").json()] == [
        *(2, 0, 0)
    ]
    assert zipfile.is_zipfile(io.BytesIO(export("labelme").content))
    refused = export("csv", threshold=0.01)
    assert refused.status_code == 422 and "kept down to" in refused.json()["message"]
    assert export("xls").status_code == 422


def test_a_start_without_a_server_leaves_nothing(web, database, run):
    body = {"collection": "bay", "model": "m", "threshold": 0.123}
    refused = web.post(RUNS, json=body)
    assert refused.status_code == 503 and "visionflows up" in refused.json()["message"]
    assert [one.id for one in list_runs(database)] == [run]
    assert database.rows("SELECT id FROM jobs") == []
    for wrong, status in (
        ({"collection": "sea"}, 404),
        ({"model": "/weights/m.onnx"}, 404),
        ({"threshold": 2}, 422),
        ({"class_mapping": {"clam": "live"}}, 422),
        ({"colour": "red"}, 422),
    ):
        assert web.post(RUNS, json={**body, **wrong}).status_code == status
    assert [one.id for one in list_runs(database)] == [run]
    cancelled = web.post(f"{RUNS}/{run}/cancel").json()
    assert cancelled["success"] and cancelled["data"] == {"cancelled": False, "job": None}
    pair = {"first": str(run), "second": str(run)}
    assert web.post(f"{RUNS}/compare", json=pair).status_code == 503


def test_a_run_is_removed_as_it_was_said(web, database, run):
    planned = web.get(f"{RUNS}/{run}/removal").json()["data"]
    assert planned["rows"]["image_results"] == 4 and not planned["removed"]
    assert web.delete(f"{RUNS}/{run}").json()["data"]["removed"]
    assert list_runs(database) == []


def test_collections_and_models_are_listed(web, run):
    (collection,) = web.get("/api/v1/collections").json()["data"]["items"]
    assert (collection["name"], collection["image_count"]) == ("bay", 4)
    assert web.get("/api/v1/collections/bay").json()["data"] == collection
    (model,) = web.get("/api/v1/models").json()["data"]["items"]
    assert (model["name"], model["class_names"]) == ("m", ["live", "dead", "shell"])


def test_every_fault_of_a_request_is_named(web):
    refused = web.post(RUNS, json={"collection": "", "threshold": 7, "image_size": 33, "x": 1})
    message = refused.json()["message"]
    assert refused.status_code == 422
    for place in ("collection", "model", "threshold", "image_size", "x"):
        assert f"body.{place}: " in message
    many = web.post(RUNS, json={**{str(number): 1 for number in range(9)}}).json()["message"]
    assert message.count("body.") == 5 and many.count("body.") == 5 and "and 6 more" in many
