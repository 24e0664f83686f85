"""quality-metrics after moves, losses and interrupted runs: the rows and the snapshot stay true."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
from sqlalchemy import text

from storage.database.tables.jobs import JobStatus
from storage.jobs.records import cancel_job, list_jobs
from storage.projects.quality_overview import load_quality_overview
from tasks.projects.registration_steps import register_project
from tests.places import DATA


def paths_in(snapshot):
    return pq.read_table(snapshot, columns=["relative_path"])["relative_path"].to_pylist()


def test_a_snapshot_missed_by_a_killed_run_is_written_by_the_next(
    small_photographs, tmp_path, database, flow_runner
):
    register_project(database, "p", small_photographs, workers=2)
    first = flow_runner("p").result()["snapshot"]
    shutil.copy(DATA / "exif-orientation" / "Portrait_1.jpg", small_photographs / "new.jpg")
    register_project(database, "p", small_photographs, workers=2)
    second = flow_runner("p").result()["snapshot"]
    # As if the second run had been killed between its comparison and its snapshot.
    shutil.move(second, tmp_path / "lost.parquet")
    third = flow_runner("p").result()["snapshot"]
    assert third not in (first, second)
    assert "new.jpg" in paths_in(third)
    assert flow_runner("p").result()["snapshot"] == third


def test_cancelled_while_images_are_compared_nothing_of_it_is_stored(
    small_photographs, database, flow_runner, quality_rows, at_instant
):
    register_project(database, "p", small_photographs, workers=2)
    at_instant(
        *("tasks.quality.steps.compare_measurements", 1, False),
        lambda: cancel_job(database, list_jobs(database)[0].id),
    )
    state = flow_runner("p")
    assert state.is_cancelled()
    job = list_jobs(database)[0]
    assert job.status is JobStatus.CANCELLED and job.processed == job.total > 0
    rows = quality_rows("p")
    assert rows and all(row["uniqueness"] is None for row in rows)
    assert flow_runner("p").is_completed()
    assert list_jobs(database)[0].total == 0, "what was measured is compared, not measured again"
    assert all(row["uniqueness"] is not None for row in quality_rows("p"))


def test_a_moved_image_is_compared_anew_and_its_new_path_is_in_the_snapshot(
    tmp_path, database, flow_runner, quality_rows
):
    folder = tmp_path / "p"
    folder.mkdir()
    source = DATA / "exif-orientation" / "Landscape_1.jpg"
    for name in ("m", "x", "z"):
        # One picture in three files: every two are nearest, and the first path counts.
        (folder / f"{name}.jpg").write_bytes(source.read_bytes() + name.encode())
    register_project(database, "p", folder, workers=1)
    flow_runner("p")
    nearest = {row["relative_path"]: row["nearest_relative_path"] for row in quality_rows("p")}
    assert nearest == {"m.jpg": "x.jpg", "x.jpg": "m.jpg", "z.jpg": "m.jpg"}

    (folder / "z.jpg").rename(folder / "a.jpg")
    assert register_project(database, "p", folder, workers=1).counts.moved == 1
    snapshot = flow_runner("p").result()["snapshot"]
    assert list_jobs(database)[0].total == 0, "no picture was decoded again"
    nearest = {row["relative_path"]: row["nearest_relative_path"] for row in quality_rows("p")}
    assert nearest == {"a.jpg": "m.jpg", "m.jpg": "a.jpg", "x.jpg": "a.jpg"}
    assert paths_in(snapshot) == ["a.jpg", "m.jpg", "x.jpg"]


def test_a_lost_copy_does_not_fail_the_other_copies(tmp_path, database, flow_runner, quality_rows):
    folder = tmp_path / "p"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(DATA / "dark-retinexnet" / "data" / "eval" / "low" / "1.png", folder / name)
    register_project(database, "p", folder, workers=1)
    (folder / "a.png").unlink()
    assert flow_runner("p").is_completed()
    job = list_jobs(database)[0]
    assert (job.processed, job.failed, job.total) == (1, 1, 2)
    # One content has one measurement, and there is a file that gives it.
    assert {row["status"] for row in quality_rows("p")} == {"completed"}


def test_a_good_measurement_whose_file_fails_now_is_kept_and_the_file_left_until_it_changes(
    tmp_path, database, flow_runner, quality_rows
):
    folder = tmp_path / "p"
    folder.mkdir()
    for number in (1, 6):
        shutil.copy(DATA / "exif-orientation" / f"Landscape_{number}.jpg", folder)
    project = register_project(database, "p", folder, workers=1).project
    flow_runner("p")
    good = {row["relative_path"]: row["sharpness"] for row in quality_rows("p")}
    # The formulas get a new version while a disk has gone bad: the same size and time, other bytes.
    with database.transaction() as connection:
        connection.execute(text("UPDATE image_quality_metrics SET metrics_version = 0"))
    file = folder / "Landscape_6.jpg"
    content, status = file.read_bytes(), file.stat()
    file.write_bytes(content[:100] + bytes(len(content) - 100))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    done = []
    for _ in range(3):
        state = flow_runner("p")
        job = list_jobs(database)[0]
        done.append((job.processed, job.failed, job.total))
    assert done == [(1, 1, 2), (0, 0, 0), (0, 0, 0)], "decided once"
    assert {row["relative_path"]: row["sharpness"] for row in quality_rows("p")} == good
    overview = load_quality_overview(database, project.id)
    assert (overview.completed, overview.failed, overview.kept_count) == (2, 0, 1)
    ((path, reason),) = overview.kept
    assert path == "Landscape_6.jpg" and reason.startswith("Landscape_6.jpg: ")
    assert "1 of these keep" in Path(state.result()["page"]).read_text(encoding="utf-8")
    # Whole again, and with another time.
    file.write_bytes(content)
    register_project(database, "p", folder, workers=1)
    flow_runner("p")
    job = list_jobs(database)[0]
    assert (job.processed, job.failed, job.total) == (1, 0, 1)
    assert load_quality_overview(database, project.id).kept_count == 0
