"""Keeping a snapshot: written unless its content is the newest, and old ones removed."""

from __future__ import annotations

from uuid import UUID, uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from storage.settings import get_settings
from storage.snapshots import SnapshotSubject, list_snapshots, snapshot_metadata
from tasks.snapshots import keep_snapshot

SUBJECT = SnapshotSubject("numbers", "project", UUID(int=1))
SCHEMA = pa.schema([pa.field("number", pa.int64())])


def keep(content, numbers=(1, 2), **metadata):
    def batches():
        yield pa.RecordBatch.from_pydict({"number": list(numbers)}, schema=SCHEMA)

    return keep_snapshot(SUBJECT, SCHEMA, batches, content, "count", uuid4(), **metadata)


def paths():
    return [str(found.path) for found in list_snapshots(get_settings().snapshots_folder, SUBJECT)]


def test_the_same_content_is_kept_once(home):
    first = keep("a", project="kites")
    assert keep("a", numbers=(3,)) == first == paths()[-1], "its rows are not even read"
    assert pq.read_table(first)["number"].to_pylist() == [1, 2]
    told = snapshot_metadata(paths()[0])
    assert set(told) == {"flow", "version", "taken_at", "project", "content", "row_count"}
    assert (told["flow"], told["project"], told["content"]) == ("count", "kites", "a")
    assert keep("b", numbers=(3,)) == paths()[1]
    assert keep("a") == paths()[2], "what was told before the newest is told again"


def test_without_a_content_each_is_written(home):
    assert [keep(None), keep(None)] == paths()
    assert "content" not in snapshot_metadata(paths()[0])


def test_old_ones_are_removed(home, monkeypatch):
    monkeypatch.setenv("VISIONFLOWS_SNAPSHOTS_KEPT", "2")
    get_settings.cache_clear()
    written = [keep(str(number)) for number in range(4)]
    assert paths() == written[2:]


def test_a_writer_that_was_killed_before_it_had_named_the_newest_is_made_up_for(home):
    first = keep("a")
    latest = get_settings().snapshots_folder / "numbers" / f"project={UUID(int=1)}/latest.parquet"
    latest.unlink()
    assert keep("a") == first == str(latest.resolve())
