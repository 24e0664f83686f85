"""Old snapshots go by count and age; the newest of every subject stays, and so do other files."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from flows.prune import prune
from storage.settings import get_settings
from storage.snapshots import SnapshotSubject, list_snapshots, list_subjects, write_snapshot

NOTHING_ELSE = {"finished": [], "images": 0, "leftovers": 0}
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

    before = sum(path.stat().st_size for path in root.rglob("*.parquet"))
    state = prune(keep=1, older_than_days=30, return_state=True)
    assert (ages("old"), ages("mixed")) == ([100], [20, 10])
    after = sum(path.stat().st_size for path in root.rglob("*.parquet"))
    assert state.result() == {"removed": 5, "bytes": before - after, **NOTHING_ELSE}
    assert (root / "image_quality" / "project=mine" / "notes.parquet").exists()
    assert prune(keep=1, older_than_days=30) == NOTHING


def test_left_out_as_many_stay_as_the_setting_says(prefect_client, subjects, monkeypatch):
    root = get_settings().snapshots_folder
    assert prune() == NOTHING
    monkeypatch.setenv("VISIONFLOWS_SNAPSHOTS_KEPT", "3")
    get_settings.cache_clear()
    assert prune()["removed"] == 2
    assert [len(list_snapshots(root, subject)) for subject in subjects.values()] == [3, 3]
