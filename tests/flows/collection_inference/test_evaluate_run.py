"""evaluate-run: drawn mussels against what was drawn, cancelled, run again, compared, removed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from deployments.web.application import create_application
from storage.database.tables.jobs import JobKind, JobStatus
from storage.database.tables.removals import RemovalNoun
from storage.errors import InvalidInputError
from storage.inference.evaluations import (
    find_evaluation,
    list_evaluated_images,
    list_evaluations,
    load_curves,
    load_mistakes,
    read_labelled_images,
)
from storage.jobs.records import cancel_job, find_job, list_jobs
from storage.removal.removing import plan_removal, remove
from storage.settings import get_settings
from tasks.inference.detection.detection_records import to_record
from tasks.inference.detections import Detection, ImageDetections
from tasks.inference.evaluation.steps import compare_evaluations
from tests.tasks.inference.conftest import MUSSELS, PICTURES


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A folder of six drawn pictures with their labels."""
    folder = tmp_path / "drawn"
    script = [sys.executable, str(MUSSELS / "draw_mussels.py"), str(folder)]
    subprocess.run([*script, "--pictures=6", "--seed=16"], check=True, capture_output=True)
    return folder


def test_the_life_of_an_evaluation(
    infer, gather, drawn, the_run, database, prefect_client, monkeypatch, home
):
    from flows.evaluate_run import evaluate_run
    from flows.ingest_project import ingest_project

    assert ingest_project(source=str(drawn), project="mussels", return_state=True).is_completed()
    project = next(path for path in (home / "projects").iterdir() if path.is_dir())
    files = sorted(project.rglob("labels/**/*.txt")) or sorted(drawn.rglob("*.txt"))
    truth = [len(path.read_text().split("\n")) - 1 for path in files if path.stem.isdigit()]
    gather(drawn)
    infer(0.5)
    run = the_run()

    # Somebody cancels it while it works.
    def cancelling(*_arguments):
        (active,) = list_jobs(database, kind=JobKind.EVALUATE_RUN, active_only=True)
        cancel_job(database, active.id)
        return read_labelled_images(*_arguments)

    with monkeypatch.context() as patch:
        patch.setattr("tasks.inference.evaluation.steps.read_labelled_images", cancelling)
        patch.setattr("storage.jobs.counted._RECORD_SECONDS", 0.0)
        assert evaluate_run(str(run.id)[:8], return_state=True).is_cancelled()
    (job,) = list_jobs(database, kind=JobKind.EVALUATE_RUN)
    assert (job.status, job.total) == (JobStatus.CANCELLED, 6)
    assert list_evaluations(database) == []

    state = evaluate_run(str(run.id)[:8], return_state=True)
    assert state.is_completed(), state.message
    result = state.result()
    assert "counts best at the threshold" in state.message
    found = find_evaluation(database, result["evaluation_id"])
    figures = found.figures
    assert figures["images"] == 6 and figures["labels"] == sum(truth)
    assert figures["standard"] == [], "detections are kept down to 0.05: nothing is called AP"
    whole = figures["classes"][0]
    at = whole["at_threshold"]
    assert at["right"] + at["missed"] == sum(truth) and at["f1"] > 0.8
    assert at["right"] + at["wrong"] == sum(run.class_counts.values())
    assert sum(map(sum, figures["matrix"])) == at["right"] + at["wrong"] + at["missed"] - sum(
        figures["matrix"][row][column] for row in range(2) for column in range(2) if row != column
    )
    best = whole["best_counts"]["mean_absolute"]["value"]
    assert best <= whole["counts"]["mean_absolute"]["value"]
    images = list_evaluated_images(database, found.id)
    assert [image.labelled for image in images] == truth
    assert sum(image.right_count for image in images) == at["right"]
    curves = load_curves(database, found.id)
    assert set(curves) == {"all classes", "live", "dead"}
    half = curves["all classes"]["threshold"].index(0.5)
    assert curves["all classes"]["recall"][half] == pytest.approx(at["recall"], abs=1e-6)
    rows = pq.read_table(result["snapshot"]).to_pylist()
    kinds = [row["kind"] for row in rows]
    assert kinds.count("right") == at["right"] and "below" in kinds
    assert all(row["label_line"] for row in rows if row["kind"] == "right")
    assert "counts best at the threshold" in Path(result["page"]).read_text(encoding="utf-8")
    assert find_job(database, UUID(result["job_id"])).processed == 6

    # Again: the same rows. With all detections: average precision, and the same counts.
    mistakes = load_mistakes(database, found.id)
    again = evaluate_run(str(run.id), return_state=True).result()
    assert json.dumps(again["figures"]) == json.dumps(result["figures"])
    assert again["snapshot"] == result["snapshot"], "nothing new is to be kept"
    assert list_evaluated_images(database, found.id) == images
    assert load_mistakes(database, found.id) == mistakes
    wider = evaluate_run(str(run.id), average_precision=True, return_state=True).result()
    boxes, masks = wider["figures"]["standard"]
    assert boxes["overlap"] == "boxes" and masks["overlap"] == "masks"
    assert boxes["ap50"] > 0.8 and 0.4 < masks["ap"] < boxes["ap50"]
    assert wider["figures"]["classes"][0]["at_threshold"] == at

    # Another choice is another evaluation; two are compared on the same images.
    other = evaluate_run(str(run.id), unlabelled="background", return_state=True).result()
    second = find_evaluation(database, other["evaluation_id"])
    compared = compare_evaluations(database, found, second)
    assert compared["images"] == 6
    assert all(row["difference"] == {"value": 0, "low": 0, "high": 0} for row in compared["rows"])
    refused = evaluate_run(str(run.id), {"open": "live"}, return_state=True)
    with pytest.raises(InvalidInputError, match="No class of the model is called 'open'"):
        refused.result()

    # Its pages, with a label that somebody has deleted.
    kept = sorted(home.glob("projects/*/raw_data/labels/*.txt"))
    changed = next(path for path in kept if path.stem.isdigit() and path.stat().st_size)
    lines = changed.read_text().splitlines(keepends=True)
    changed.write_text("".join(lines[1:]))
    worse = evaluate_run(str(run.id), return_state=True).result()["figures"]
    assert worse["labels"] == figures["labels"] - 1
    with TestClient(create_application(get_settings()), base_url="http://127.0.0.1:4201") as web:
        two = {"first": str(found.id)[:8], "second": str(second.id)}
        told = web.get("/api/v1/evaluations/compare", params=two).json()["data"]
        assert (told["first"]["id"], told["second"]["id"]) == (str(found.id), str(second.id))
        assert [row["figure"] for row in told["rows"]] == [
            row["figure"] for row in compared["rows"]
        ]
        assert (told["images"], told["first"]["run_id"]) == (6, str(run.id))
        for missing in ({"first": str(found.id)}, {**two, "second": "nobody"}):
            assert web.get("/api/v1/evaluations/compare", params=missing).status_code in (404, 422)
        assert f'href="/evaluations/{found.id}"' in web.get("/evaluations").text
        assert f'name="evaluation" value="{second.id}"' in web.get("/evaluations").text
        pair = {"evaluation": [str(found.id), str(second.id)]}
        compared_page = web.get("/evaluations/compare", params=pair).text
        assert "6 images in both" in compared_page
        assert compared_page.count('<th scope="row">') == len(compared["rows"])
        assert web.get("/evaluations/compare", params={"a": str(found.id)}).status_code == 422
        shown = web.get(f"/evaluations/{found.id}").text
        assert 'class="detection"' in shown or load_mistakes(database, found.id) == []
        assert len(re.findall("<circle class=.dot.", shown)) == len(
            {(one.labelled, one.counted) for one in list_evaluated_images(database, found.id)}
        )
        cells = {
            int(cell): int(number)
            for cell, number in re.findall(r"images\?cell=(\d+)\">(\d+)<", shown)
        }
        flat = [number for row in worse["matrix"] for number in row]
        assert cells == {cell: number for cell, number in enumerate(flat) if number}
        wrong = next(cell for cell in cells if cell not in (0, 4, 8))
        behind = web.get(f"/evaluations/{found.id}/images", params={"cell": wrong}).text
        assert behind.count("<figure>") == sum(
            wrong in one.cells for one in list_evaluated_images(database, found.id)
        )
        assert web.get(f"/evaluations/{found.id}", params={"of": "dead"}).status_code == 200

    remove(database, plan_removal(database, RemovalNoun.EVALUATION, str(second.id)))
    assert [one.id for one in list_evaluations(database)] == [found.id]
    remove(database, plan_removal(database, RemovalNoun.PROJECT, "mussels"))
    assert list_evaluations(database) == []
    assert not list(home.glob("snapshots/evaluations/evaluation=*"))
    assert not list(home.glob("reports/evaluate-run/*.html"))
    with pytest.raises(InvalidInputError, match="has labels in a project"):
        evaluate_run(str(run.id), return_state=True).result()


def test_oriented_boxes_have_their_own_overlap_and_poses_are_judged_by_their_boxes(
    infer, gather, the_run, database, prefect_client, tmp_path
):
    """Two bars, one of which is found turned by a right angle: as upright boxes both are right."""
    from flows.evaluate_run import evaluate_run
    from flows.ingest_project import ingest_project

    folder = tmp_path / "bars"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    size = np.array([320, 256])
    bars = [_bar((160, 128), 45), _bar((80, 60), 30)]
    for number, picture in enumerate(PICTURES[:2]):
        shutil.copy(picture, folder / "images" / f"{number}.jpg")
        rows = [" ".join(map(str, ("0", *(bar / size).ravel()))) for bar in bars]
        (folder / "labels" / f"{number}.txt").write_text("\n".join(rows) + "\n")
    (folder / "data.yaml").write_text("names: [live, dead]\n")
    assert ingest_project(source=str(folder), project="bars", return_state=True).is_completed()
    gather(folder / "images")
    infer(0.5)
    run = the_run()
    found = [
        Detection(0, 0.9, _box_around(bar), (bar,))
        for bar in (_bar((160, 128), -45), _bar((80, 60), 30))
    ]
    record = to_record(ImageDetections(320, 256, tuple(found)))["detections"]
    with database.transaction() as connection:
        connection.execute(
            text("UPDATE image_detections SET floor_confidence = 0.001, detections = :found"),
            {"found": json.dumps(record)},
        )
        connection.execute(text("UPDATE models SET task = 'obb'"))
    figures = evaluate_run(str(run.id), return_state=True).result()["figures"]
    whole = figures["classes"][0]["at_threshold"]
    assert (whole["right"], whole["wrong"], whole["missed"]) == (2, 2, 2)
    (standard,) = figures["standard"]
    assert standard["overlap"] == "oriented boxes"
    # Every second of four that are equally sure is right: half of the labels, at precision 1/2.
    assert standard["ap50"] == pytest.approx(0.5 * 51 / 101)

    with database.transaction() as connection:
        connection.execute(text("UPDATE models SET task = 'pose'"))
    result = evaluate_run(str(run.id), return_state=True).result()
    whole = result["figures"]["classes"][0]["at_threshold"]
    assert (whole["right"], whole["wrong"], whole["missed"]) == (4, 0, 0)
    assert [one["overlap"] for one in result["figures"]["standard"]] == ["boxes"]
    sentence = "no keypoint similarity (OKS)"
    assert sentence in Path(result["page"]).read_text(encoding="utf-8")
    with TestClient(create_application(get_settings()), base_url="http://127.0.0.1:4201") as web:
        assert sentence in web.get(f"/evaluations/{result['evaluation_id']}").text


def _bar(center, degrees):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([(-40, -8), (40, -8), (40, 8), (-40, 8)]) @ turn.T + center
    return corners.astype(np.float32)


def _box_around(corners):
    return (*map(float, corners.min(axis=0)), *map(float, corners.max(axis=0)))
