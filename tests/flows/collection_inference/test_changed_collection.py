"""A collection that changes while a run works: every stored count is the sum of its rows.

How many seeds, by VISIONFLOWS_TEST_SEEDS.
"""

from __future__ import annotations

import os
import random
import shutil

import pytest
from sqlalchemy import text

from storage.database.tables.jobs import JobStatus
from storage.errors import NotFoundError
from storage.inference.results import describe_run
from storage.inference.runs import list_runs
from tasks.inference.runs.report import run_report
from tests.tasks.inference.conftest import PICTURES

SEEDS = int(os.environ.get("VISIONFLOWS_TEST_SEEDS", "14"))
# One line for each run: what its row says, and what its results in the collection say.
RECOUNT = """
SELECT k.total, k.processed_count, k.failed_count, k.live_mussel_count, k.dead_mussel_count,
       coalesce((SELECT sum(e.value::int) FROM jsonb_each_text(k.class_counts) e), 0) AS objects,
       count(r.image_id) AS results,
       count(r.image_id) FILTER (WHERE r.error_msg IS NULL) AS good,
       count(r.image_id) FILTER (WHERE r.error_msg IS NOT NULL) AS bad,
       coalesce(sum(r.live_count), 0) AS live, coalesce(sum(r.dead_count), 0) AS dead,
       count(*) FILTER (WHERE c.shared_image_id IS NOT NULL AND r.image_id IS NULL) AS later
FROM runs k
LEFT JOIN collection_images c ON c.collection_id = k.collection_id
LEFT JOIN image_results r ON r.run_id = k.id AND r.image_id = c.shared_image_id
WHERE k.status NOT IN ('pending', 'processing')
GROUP BY k.id
"""
JOBS = """
SELECT j.total, j.processed, j.failed, coalesce(sum(cardinality(c.items)), 0) AS items,
       coalesce(sum(c.processed), 0) AS done, coalesce(sum(c.failed), 0) AS in_vain
FROM jobs j LEFT JOIN job_chunks c ON c.job_id = j.id
WHERE j.kind = 'collection-inference' GROUP BY j.id
"""


def assert_counts_are_sums(database):
    """Of all runs and jobs that have ended, cancelled ones left out."""
    with database.transaction() as connection:
        runs = [dict(row) for row in connection.execute(text(RECOUNT)).mappings()]
        jobs = [dict(row) for row in connection.execute(text(JOBS)).mappings()]
    assert runs
    for run in runs:
        stored = (run["total"], run["processed_count"], run["failed_count"])
        assert stored == (run["results"], run["good"], run["bad"])
        assert (run["live_mussel_count"], run["dead_mussel_count"]) == (run["live"], run["dead"])
        assert run["objects"] == run["live"] + run["dead"]
    for job in jobs:
        assert (job["total"], job["processed"], job["failed"]) == (
            job["items"],
            job["done"],
            job["in_vain"],
        )


STEPS = "tasks.inference.runs.steps."
# Where a collection may change, in the order of a run; each by the name that the steps call.
INSTANTS = (
    "list_images_to_do",
    "begin_run",
    "plan_chunks",
    "load_run_images",
    "write_polygons",
    "store_results",
    "sum_up_run",
)


def change_pictures(chance, pictures):
    """Add, remove, or rename pictures; also what a removal takes away, another may bring again."""
    present, absent = sorted(pictures.iterdir()), [*PICTURES[6:], *PICTURES[:6]]
    for path in chance.sample(present, chance.randint(0, 3)):
        if chance.random() < 0.5:
            path.rename(pictures / f"renamed-{path.name}")
        else:
            path.unlink()
    for path in chance.sample(absent, chance.randint(0, 3)):
        shutil.copy(path, pictures)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_changed_at_any_instant_the_counts_are_sums_over_the_rows(
    seed, infer, gather, pictures, at_instant, database, the_run
):
    chance = random.Random(seed)
    gather(pictures)

    def change():
        change_pictures(chance, pictures)
        gather(pictures)

    name = INSTANTS[seed % len(INSTANTS)]
    many = name in ("write_polygons", "store_results")
    # Storing holds the rows of the job: who changes the collection waits for nothing of it.
    at_instant(STEPS + name, chance.randint(1, 3) if many else 1, seed >= len(INSTANTS), change)
    assert infer(0.5, batch_size=2).is_completed()
    assert_counts_are_sums(database)
    # Also where nothing is at work, and once the next run has done what came later.
    change()
    assert_counts_are_sums(database)
    assert infer(0.5).is_completed()
    assert_counts_are_sums(database)
    assert describe_run(database, the_run())["totals"]["later"] == 0


def test_images_that_came_later_are_said_and_belong_to_the_next_run(
    infer, gather, pictures, at_instant, database, the_run
):
    gather(pictures)

    def grow():
        for path in PICTURES[6:9]:
            shutil.copy(path, pictures)
        gather(pictures)

    at_instant(f"{STEPS}write_polygons", 2, False, grow)
    state = infer(0.5, batch_size=2)
    run = the_run()
    assert (run.total, run.processed_count, run.failed_count) == (6, 6, 0)
    assert (state.result()["total"], state.result()["later"]) == (6, 3)
    sentences = run_report(describe_run(database, run)).sentences
    assert any(sentence.startswith("3 more images are in the collection") for sentence in sentences)
    infer(0.5)
    assert (the_run().total, the_run().processed_count) == (9, 9)
    sentences = run_report(describe_run(database, the_run())).sentences
    assert not any("more images" in sentence for sentence in sentences)


def test_images_that_left_before_they_were_looked_at_have_not_failed(
    infer, gather, pictures, at_instant, database, the_run
):
    gather(pictures)

    def shrink():
        for path in sorted(pictures.iterdir())[4:]:
            path.unlink()
        gather(pictures)

    at_instant(f"{STEPS}load_run_images", 1, False, shrink)
    assert infer(0.5, batch_size=2).is_completed()
    run = the_run()
    assert (run.status.value, run.total, run.processed_count) == ("completed", 4, 4)
    assert run.failed_count == 0 and run.error_msg is None
    assert_counts_are_sums(database)
    assert [run.total for run in list_runs(database)] == [4]


def test_a_run_that_is_removed_under_its_flow_ends_with_a_sentence_and_leaves_nothing(
    infer, gather, pictures, at_instant, database, the_run, home
):
    gather(pictures)

    def remove_rows():
        # As nobody can by our own commands while a job is at work on it.
        with database.transaction() as connection:
            connection.execute(text("DELETE FROM collections"))

    at_instant(f"{STEPS}write_polygons", 1, True, remove_rows)
    state = infer()
    assert state.is_failed()
    with pytest.raises(NotFoundError, match="was removed while it was at work"):
        state.result()
    assert list_runs(database) == []
    assert not list((home / "runs").iterdir())


def test_a_run_whose_collection_cannot_be_gathered_has_failed_and_says_why(
    infer, gather, pictures, the_run
):
    gather(pictures)
    shutil.rmtree(pictures)
    state = infer(refresh=True)
    assert state.is_failed()
    assert the_run().status is JobStatus.FAILED
    assert str(pictures) in the_run().error_msg


def test_sums_of_a_run_at_work_are_those_of_what_is_stored_by_now(
    infer, gather, pictures, at_instant, the_run, database, monkeypatch
):
    gather(pictures)
    seen = []

    def look():
        with database.transaction() as connection:
            results = connection.execute(
                text("SELECT count(*), coalesce(sum(live_count), 0) FROM image_results")
            ).one()
        run = the_run()
        seen.append(((run.processed_count, run.live_count), tuple(results), run.total))
        assert not run.is_interrupted

    at_instant(f"{STEPS}write_polygons", 3, False, look)
    assert infer(batch_size=1).is_completed()
    ((told, stored, total),) = seen
    assert told == stored and stored[0] >= 1 and total == 6
