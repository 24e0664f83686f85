"""Old snapshots go by count and age; the newest of every subject stays, and so do other files."""

from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from flows.prune import prune
from storage.settings import get_settings
from storage.snapshots import SnapshotSubject, list_snapshots, list_subjects, write_snapshot

NOTHING_ELSE = {"finished": [], "images": 0, "leftovers": 0, "uploads": 0, "lost_jobs": 0}
NOTHING = {"removed": 0, "bytes": 0, **NOTHING_ELSE}
SCHEMA = pa.schema([("value", pa.int64())])


@pytest.fixture
def subjects(database):
    """Two subjects with a snapshot for each of these ages in days."""
    root = get_settings().snapshots_folder
    ages = {"old": (400, 300, 200, 100), "mixed": (50, 40, 20, 10)}
    made = {}
    for name, days in ages.items():
        made[name] = SnapshotSubject("image_quality", "project", uuid.uuid4())
        for day in days:
            batch = pa.record_batch([pa.array([day])], schema=SCHEMA)
            write_snapshot(
                root,
                made[name],
                SCHEMA,
                [batch],
                run_id=uuid.uuid4(),
                metadata={},
                taken_at=datetime.now(UTC) - timedelta(days=day),
            )
    (root / "image_quality" / "project=mine").mkdir()
    (root / "image_quality" / "project=mine" / "notes.parquet").write_bytes(b"mine")
    return made


def test_old_snapshots_go_and_the_newest_stay(prefect_client, subjects):
    root = get_settings().snapshots_folder
    assert set(list_subjects(root)) == set(subjects.values())

    def ages(name):
        now = datetime.now(UTC)
        return [(now - found.taken_at).days for found in list_snapshots(root, subjects[name])]

    def size():
        files = (path for path in root.rglob("*.parquet") if not path.is_symlink())
        return sum(path.stat().st_size for path in files)

    before = size()
    state = prune(keep=1, older_than_days=30, return_state=True)
    assert (ages("old"), ages("mixed")) == ([100], [20, 10])
    assert state.result() == {"removed": 5, "bytes": before - size(), **NOTHING_ELSE}
    assert (root / "image_quality" / "project=mine" / "notes.parquet").exists()
    assert prune(keep=1, older_than_days=30) == NOTHING


def test_left_out_as_many_stay_as_the_setting_says(prefect_client, subjects, monkeypatch):
    root = get_settings().snapshots_folder
    assert prune() == NOTHING
    monkeypatch.setenv("VISIONFLOWS_SNAPSHOTS_KEPT", "3")
    get_settings.cache_clear()
    assert prune()["removed"] == 2
    assert [len(list_snapshots(root, subject)) for subject in subjects.values()] == [3, 3]


def test_what_was_broken_off_or_left_or_is_held_by_nothing_goes(prefect_client, database, home):
    subject, old = str(uuid.uuid4()), time.time() - 25 * 3600
    polygons = home / "runs" / subject
    leftover = home / "releases" / f".{uuid.uuid4().hex}.tmp"
    for path in (polygons / "1.json", leftover):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
        os.utime(path, (old, old))
    database.rows(
        "INSERT INTO removals (id, noun, subject, name, places) VALUES (gen_random_uuid(), 'run', "
        ":subject, 'bay', ARRAY[:place]) RETURNING id",
        subject=subject,
        place=str(polygons),
    )
    database.rows(
        "INSERT INTO shared_images (id, sha256, file_path, file_size) "
        "VALUES (gen_random_uuid(), 'abc', '/x.jpg', 1) RETURNING id"
    )
    found = prune()
    assert (found["finished"], found["images"], found["leftovers"]) == (["run bay"], 1, 1)
    assert not polygons.exists() and not leftover.exists()
    assert prune() == NOTHING
