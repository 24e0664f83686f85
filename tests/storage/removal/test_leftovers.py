"""What nobody holds any more goes, and nothing else does."""

from __future__ import annotations

import os
import time
from uuid import uuid4

from storage.database.tables.removals import RemovalNoun
from storage.removal.leftovers import prune_unheld_images, sweep_leftovers
from storage.removal.removing import plan_removal, remove

DAY = 24 * 3600.0


def test_contents_that_nothing_holds_are_forgotten_with_what_is_known_of_them(
    things, two_runs, database
):
    two_runs()
    assert prune_unheld_images(database) == 0
    (image,) = things.sql("SELECT shared_image_id FROM collection_images LIMIT 1")[0]
    things.sql(
        "INSERT INTO image_quality_metrics (shared_image_id, status, error_message, "
        "metrics_version, pillow_version, opencv_version) VALUES (:id, 'failed', 'x', 1, '1', '1')",
        id=image,
    )
    things.sql("DELETE FROM collection_images WHERE shared_image_id = :id", id=image)
    assert prune_unheld_images(database) == 1
    tables = ("shared_images", "image_results", "image_detections", "image_quality_metrics")
    assert [things.count(table) for table in tables] == [2, 4, 2, 0]
    assert not any(str(image) in place for place in things.files())
    remove(database, plan_removal(database, RemovalNoun.COLLECTION, "bay"))
    assert (things.count("shared_images"), things.count("image_detections")) == (2, 2)
    assert prune_unheld_images(database) == 2
    assert things.count("image_detections") == 0


def test_leftovers_of_killed_processes_go_and_other_files_stay(things, database, tmp_path):
    ours, hexadecimal, job = uuid4(), uuid4().hex, uuid4()
    leftovers = [
        f"snapshots/image_quality/project={ours}/.{hexadecimal}.tmp",
        f"runs/{ours}/polygons/.{hexadecimal}.tmp",
        f"reports/quality-metrics/.{hexadecimal}.tmp",
        f"releases/.{hexadecimal}.tmp",
        f"exports/exports/abc/.{hexadecimal}.tmp",
        f"projects/{ours}/.{hexadecimal}.tmp",
        f"projects/.staging/{ours}/0.jpg",
        f"training_sets/.sea.{job}.building/plan.parquet",
        f"training_sets/.sea.{job}.tmp",
    ]
    things.sql(
        "INSERT INTO project_ingests (project_id, project_name, project_path, source, options_key) "
        "VALUES (:id, 'sea', '/sea', 's', 'k')",
        id=(ingest := uuid4()),
    )
    kept = [
        f"snapshots/image_quality/project={ours}/mine.tmp",
        f"projects/{ours}/raw_data/.{hexadecimal}.tmp",
        f"projects/.staging/{ingest}/0.jpg",
        f"training_sets/sea/.{hexadecimal}.tmp",
    ]
    elsewhere = tmp_path / "sets"
    things.job("prepare-training-set", str(elsewhere / "a.b"))
    gone = elsewhere / f".a.b.{job}.building"
    strange = elsewhere / f".other.{job}.building"
    for place in (*leftovers, *kept):
        things.file(place)
    for folder in (gone, strange):
        folder.mkdir(parents=True)
    now = time.time()
    assert sweep_leftovers(database, older_than_seconds=DAY, now=now) == 0
    for path in (*things.home.rglob("*"), gone, strange):
        os.utime(path, (now - DAY - 60, now - DAY - 60))
    assert sweep_leftovers(database, older_than_seconds=DAY, now=now) == len(leftovers) + 1
    assert things.files() == set(kept)
    assert strange.exists() and not gone.exists()
