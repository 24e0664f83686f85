"""compare-runs: two thresholds of one model, counted by hand from the polygon files."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import InvalidInputError
from storage.inference.models import add_model, find_model
from storage.inference.run_pairs import read_pairs
from storage.jobs.records import cancel_job, find_job, list_jobs
from tasks.inference.runs.steps import describe_model
from tests.tasks.inference.conftest import MUSSELS


@pytest.fixture
def compare(prefect_client):
    from flows.compare_runs import compare_runs

    return lambda first, second: compare_runs(first=first, second=second, return_state=True)


def test_a_higher_threshold_keeps_a_part_of_the_same_objects(
    infer, gather, pictures, compare, the_run, polygon_files, result_rows, database, monkeypatch
):
    gather(pictures)
    infer(0.5)
    low = the_run()
    infer(0.8)
    high = the_run()
    state = compare(str(low.id), str(high.id)[:13])
    assert state.is_completed(), state.message
    result = state.result()
    few, many = polygon_files(high), polygon_files(low)
    names = {str(row["image_id"]): row["name"] for row in result_rows(low)}
    counts = {
        kind: (
            sum(document["class_counts"].get(kind, 0) for document in many.values()),
            sum(document["class_counts"].get(kind, 0) for document in few.values()),
        )
        for kind in ("dead", "live")
    }
    # The same boxes overlap wholly: what the higher threshold keeps is matched.
    for one in result["classes"]:
        first, second = counts[one["class_name"]]
        assert (one["first"], one["second"], one["matched"]) == (first, second, second)
        assert one["agreement"] == pytest.approx(second / first)
        assert one["mean_iou"] == pytest.approx(1)
    lost = {
        names[image_id]: len(many[image_id]["polygons"]) - len(few[image_id]["polygons"])
        for image_id in many
    }
    assert result["images"] == 6
    assert result["equal_images"] == sum(count == 0 for count in lost.values())
    worst = [(image["image"], image["first"] - image["second"]) for image in result["worst"]]
    expected = [(name, count) for name, count in lost.items() if count]
    assert sorted(worst) == sorted(expected)
    assert [count for _, count in worst] == sorted((count for _, count in expected), reverse=True)

    table = pq.read_table(result["snapshot"]).to_pylist()
    assert {row["image_id"] for row in table} == set(many)
    assert sum(row["first_count"] for row in table) == sum(first for first, _ in counts.values())
    assert sum(row["matched"] for row in table) == sum(second for _, second in counts.values())
    page = Path(result["page"]).read_text(encoding="utf-8")
    assert page.count('<image href="data:image/jpeg;base64,') == 2 * min(3, len(expected))

    job = find_job(database, UUID(result["job_id"]))
    assert (job.kind, job.status) == (JobKind.COMPARE_RUNS, JobStatus.COMPLETED)
    assert (job.total, job.processed, job.result["images"]) == (6, 6, 6)

    # Somebody cancels it while it works.
    def cancelling(*_arguments):
        (active,) = list_jobs(database, active_only=True)
        cancel_job(database, active.id)
        return read_pairs(*_arguments)

    with monkeypatch.context() as patch:
        patch.setattr("tasks.inference.runs.comparison_steps.read_pairs", cancelling)
        assert compare(str(high.id), str(low.id)).is_cancelled()
    (job,) = list_jobs(database, limit=1)
    assert (job.status, job.total, job.processed) == (JobStatus.CANCELLED, 6, 0)
    same = compare(str(low.id), str(low.id)).result()
    assert same["total"]["agreement"] == 1 and same["equal_images"] == 6


def test_runs_without_a_common_image_are_refused(
    infer, gather, pictures, compare, the_run, tmp_path
):
    gather(pictures)
    infer(0.5)
    first = the_run()
    (tmp_path / "empty").mkdir()
    gather(tmp_path / "empty", "nothing")
    infer(0.5, collection="nothing")
    state = compare(str(first.id), str(the_run().id))
    assert state.is_failed()
    with pytest.raises(InvalidInputError, match="no image in common"):
        state.result()


def test_an_image_that_has_left_the_collection_is_in_neither_run(
    infer, gather, pictures, compare, the_run
):
    gather(pictures)
    infer(0.5)
    low = the_run()
    infer(0.8)
    sorted(pictures.glob("*.jpg"))[0].unlink()
    gather(pictures)
    result = compare(str(low.id), str(the_run().id)).result()
    assert (result["both"], result["only_first"], result["only_second"]) == (5, 0, 0)
    assert result["images"] == 5


def test_runs_over_two_collections_are_compared_on_what_both_have_now(
    infer, gather, pictures, compare, the_run
):
    gather(pictures)
    infer(0.5)
    whole = the_run()
    gather(pictures, "shore")
    infer(0.5, collection="shore")
    for path in sorted(pictures.glob("*.jpg"))[:2]:
        path.unlink()
    gather(pictures, "shore")
    result = compare(str(whole.id), str(the_run().id)).result()
    assert (result["both"], result["only_first"], result["only_second"]) == (4, 2, 0)


def test_two_models_of_the_same_weights_agree(
    infer, gather, pictures, compare, the_run, database, home
):
    gather(pictures)
    infer(0.5)
    first = the_run()
    weights = add_model(database, describe_model(MUSSELS / "mussels.pt"), name="by torch")
    assert find_model(database, str(MUSSELS / "mussels.pt")) == weights
    assert infer(0.5, model="by torch", device="cpu").is_completed()
    second = the_run()
    assert second.id != first.id
    assert list((home / "exports").rglob("*.onnx")), "the export is kept"
    result = compare(str(first.id), str(second.id)).result()
    assert result["images"] == result["equal_images"] == 6
    assert result["total"]["matched"] == sum(first.class_counts.values())
    assert result["total"]["mean_iou"] == pytest.approx(1, abs=1e-3)
