"""Subjects that change while a flow works on them: what is stored is the sum of its rows.

Images and sessions are added, removed, renamed and relabelled at seeded instants. Right afterwards
every count of a job is that of its chunks, and what the flow tells is what is there; after one
more undisturbed run everything is as if nothing had been disturbed. How many seeds, by
VISIONFLOWS_TEST_SEEDS.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import text

from tasks.projects.registration_steps import register_project
from tests.flows.ingest_project.ingest_samples import picture, yolo_dataset
from tests.flows.labeled_projects import make_sea, write_picture
from tests.flows.releases.release_runs import count_members
from tests.session_folders import SWEEP, make_session

SEEDS = int(os.environ.get("VISIONFLOWS_TEST_SEEDS", "10"))
COUNTERS = """
SELECT j.kind, j.total, j.processed, j.failed, coalesce(sum(cardinality(c.items)), 0) AS items,
       coalesce(sum(c.processed), 0) AS done, coalesce(sum(c.failed), 0) AS in_vain
FROM jobs j LEFT JOIN job_chunks c ON c.job_id = j.id GROUP BY j.id
"""


def rows_of(database, query, **values):
    with database.transaction() as connection:
        return [dict(row) for row in connection.execute(text(query), values).mappings()]


def newest_counts(database):
    """Total, processed and failed of the newest job, once those of all are those of chunks."""
    for job in rows_of(database, COUNTERS):
        counted = job["items"], job["done"], job["in_vain"]
        assert (job["total"], job["processed"], job["failed"]) == counted
        assert job["processed"] + job["failed"] == job["total"]
    (newest,) = rows_of(database, "SELECT * FROM jobs ORDER BY created_at DESC LIMIT 1")
    return newest["total"], newest["processed"], newest["failed"]


def change_files(chance, folder, make):
    """Remove, rename and change up to two files of a folder each, and add up to two."""
    for path in chance.sample(sorted(folder.iterdir()), 4):
        what = chance.choice(["remove", "rename", "change", "leave"])
        if what == "remove":
            path.unlink()
        elif what == "rename":
            path.rename(path.with_name(f"renamed-{chance.random():.6f}{path.suffix}"))
        elif what == "change":
            make(path, chance.randint(1000, 9999))
    for _ in range(chance.randint(0, 2)):
        make(folder / f"new-{chance.random():.6f}.png", chance.randint(1000, 9999))


QUALITY = "tasks.quality.steps."
QUALITY_INSTANTS = (
    (f"{QUALITY}list_unmeasured_images", 1),
    (f"{QUALITY}load_image_files", 1),
    (f"{QUALITY}measure_image_safely", 5),
    (f"{QUALITY}load_measured_images", 1),
    (f"{QUALITY}keep_snapshot", 1),
)
# By content, because the other project has other ids.
QUALITY_ROWS = """
SELECT q.relative_path, q.sha256, q.state, q.status, q.uniqueness, q.overall_quality,
       q.duplicate_group, q.issues, q.nearest_relative_path
FROM image_quality q JOIN projects p ON p.id = q.project_id
WHERE p.name = :name AND q.state = 'present' ORDER BY 1
"""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_quality_metrics(seed, database, flow_runner, at_instant, tmp_path):
    chance, folder = random.Random(seed), tmp_path / "p"
    for number in range(12):
        write_picture(folder / f"{number}.png", number)
    register_project(database, "p", folder, workers=1)

    def change():
        change_files(chance, folder, write_picture)
        register_project(database, "p", folder, workers=1, accept_losses=True)

    place, number = QUALITY_INSTANTS[seed % 5]
    at_instant(place, number, seed >= 5, change)
    state = flow_runner("p", batch_size=3)
    assert state.is_completed(), state.message
    newest_counts(database)
    again = flow_runner("p").result()
    rows = rows_of(database, QUALITY_ROWS, name="p")
    assert {row["status"] for row in rows} == {"completed"}
    assert again["measured"] == len(rows) == len(list(folder.iterdir()))
    assert again["issues"] == Counter(issue for row in rows for issue in row["issues"])
    shutil.copytree(folder, tmp_path / "undisturbed")
    register_project(database, "undisturbed", tmp_path / "undisturbed", workers=1)
    flow_runner("undisturbed")
    assert rows == rows_of(database, QUALITY_ROWS, name="undisturbed")


SESSIONS = "tasks.sessions.steps."
SESSION_INSTANTS = (
    (f"{SESSIONS}find_sessions", 1),
    (f"{SESSIONS}register_session_folders", 1),
    (f"{SESSIONS}load_planned_folders", 1),
    (f"{SESSIONS}compute_session_statistics", 3),
    (f"{SESSIONS}keep_snapshot", 1),
)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_compute_session_stats(seed, database, session_flow, sessions_root, at_instant):
    chance = random.Random(seed)
    for number in range(8):
        make_session(sessions_root, f"session {number}", SWEEP, number + 1)

    def change():
        for path in chance.sample(sorted(sessions_root.iterdir()), 3):
            what = chance.choice(["remove", "rename", "fewer"])
            if what == "remove":
                shutil.rmtree(path)
            elif what == "rename":
                path.rename(path.with_name(f"renamed {chance.random():.6f}"))
            else:
                next(path.glob("*.png")).unlink()
        make_session(sessions_root, f"new {chance.random():.6f}", SWEEP, 3)

    place, number = SESSION_INSTANTS[seed % 5]
    at_instant(place, number, seed >= 5, change)
    assert session_flow(batch_size=2, accept_losses=True).is_completed()
    _, _, failed = newest_counts(database)
    (told,) = rows_of(
        database, "SELECT count(*) AS rows FROM sessions WHERE error_message IS NOT NULL"
    )
    assert failed == told["rows"]
    assert session_flow(force_refresh=True, accept_losses=True).is_completed()
    rows = rows_of(
        database,
        "SELECT relative_path, images_actual, error_message FROM sessions "
        "WHERE folder_state = 'present'",
    )
    assert {row["relative_path"]: row["images_actual"] for row in rows} == {
        path.name: len(list(path.glob("*.png"))) for path in sessions_root.iterdir()
    }
    assert newest_counts(database) == (len(rows), len(rows), 0)


STAGING = "tasks.projects.ingest."
INGEST_INSTANTS = (
    (f"{STAGING}plan_steps.plan_chunks", 1),
    (f"{STAGING}staging_steps.load_staged_files", 1),
    (f"{STAGING}staging_steps.read_content", 3),
    (f"{STAGING}commit_steps.move_staged_files", 1),
    (f"{STAGING}commit_steps.reconcile_folder", 1),
)
PROJECT_COUNTS = """
SELECT count(*) FILTER (WHERE i.state = 'present') AS images,
       count(*) FILTER (WHERE i.state = 'present' AND i.is_labeled) AS labeled
FROM project_images i JOIN projects p ON p.id = i.project_id WHERE p.name = :name
"""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_ingest_project(seed, database, ingested, image_rows, at_instant, tmp_path):
    chance, source = random.Random(seed), yolo_dataset(tmp_path / "source")
    images = next(path.parent for path in source.rglob("*.png"))

    def change():
        change_files(chance, images, picture)
        for label in chance.sample(sorted(source.rglob("labels/**/*.txt")), 2):
            label.unlink() if chance.random() < 0.5 else label.write_text("1 0.5 0.5 0.2 0.2\n")

    place, number = INGEST_INSTANTS[seed % 5]
    at_instant(place, number, seed >= 5, change)
    report = ingested(source, "p")
    newest_counts(database)
    (counts,) = rows_of(database, PROJECT_COUNTS, name="p")
    assert (report["image_count"], report["labeled_count"]) == (counts["images"], counts["labeled"])
    assert report["added"] == counts["images"]
    on_disk = {path.name for path in Path(report["path"]).rglob("*.png")}
    assert {Path(row["relative_path"]).name for row in image_rows("p")} == on_disk
    again = ingested(source, "p")
    (counts,) = rows_of(database, PROJECT_COUNTS, name="p")
    assert again["image_count"] == counts["images"]
    touched = again["added"] + again["changed"] + again["moved"] + again["returned"]
    assert again["unchanged"] + touched <= counts["images"]
    newest_counts(database)


MAKING_INSTANTS = (
    "tasks.releases.making.steps.offer_project",
    "tasks.releases.making.steps.plan_release",
    "tasks.releases.making.steps.register_release",
)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_create_release(seed, prefect_client, database, at_instant, tmp_path):
    from flows.create_release import create_release

    chance, folder = random.Random(seed), make_sea(tmp_path / "sea")
    register_project(database, "sea", folder, workers=1)

    def change():
        for label in chance.sample(sorted((folder / "labels").iterdir()), 4):
            label.unlink() if chance.random() < 0.3 else label.write_text("1 0.5 0.5 0.2 0.2\n" * 2)
        write_picture(folder / "images" / "late.png", seed + 500)
        register_project(database, "sea", folder, workers=1, accept_losses=True)

    at_instant(MAKING_INSTANTS[seed % 3], 1, seed >= 3, change)
    state = create_release(project="sea", name="r", return_state=True)
    assert state.is_completed(), state.message
    result = state.result()
    images, objects = count_members(Path(result["archive"]))
    assert {name: count for name, count in result["split_counts"].items() if count} == images
    assert sum(result["class_counts"].values()) == sum(objects.values())
    (row,) = rows_of(database, "SELECT * FROM releases WHERE name = 'r'")
    stored = {name: row[f"{name}_image_count"] for name in ("train", "val", "test")}
    assert {name: count for name, count in stored.items() if count} == images
    assert "metadata_differs" not in str(row["problems_json"])
    for job in rows_of(database, "SELECT total, processed, failed FROM jobs"):
        assert job["processed"] + job["failed"] == job["total"]
