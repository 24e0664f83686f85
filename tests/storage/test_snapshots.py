"""Snapshots: whole, typed, listed in order, and pruned without ever losing the newest."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID, uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from storage.snapshots import (
    SnapshotSubject,
    latest_snapshot,
    list_snapshots,
    point_to_latest,
    prune_snapshots,
    write_snapshot,
)
from tests.storage.processes import kill, read_line, start_python

SUBJECT = SnapshotSubject("image_quality", "project", UUID(int=7))
SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("issues", pa.list_(pa.string())),
        pa.field("at", pa.timestamp("us", tz="UTC")),
    ]
)
START = datetime(2024, 5, 1, 12, 30, 15, 123456, tzinfo=UTC)
ROWS = [
    {"path": "ä/1.jpg", "value": 0.25, "issues": ["blurry", "dark"], "at": START},
    {"path": "2.jpg", "value": None, "issues": [], "at": None},
    {"path": "3.jpg", "value": 1.0, "issues": None, "at": START},
]

WRITE_FOR_EVER = """
    import sys, uuid
    from pathlib import Path
    import pyarrow as pa
    from storage.snapshots import SnapshotSubject, write_snapshot
    schema = pa.schema([("value", pa.int64())])
    def batches():
        for number in range(1_000_000):
            yield pa.RecordBatch.from_pydict({"value": list(range(5000))}, schema=schema)
            if number == 20:
                print("writing", flush=True)
                sys.stdin.readline()
    subject = SnapshotSubject("image_quality", "project", uuid.UUID(int=7))
    write_snapshot(Path(sys.argv[1]), subject, schema, batches(), run_id=uuid.uuid4(), metadata={})
"""


def batches(rows: list[dict[str, object]]) -> Iterator[pa.RecordBatch]:
    for row in rows:
        yield pa.RecordBatch.from_pylist([row], schema=SCHEMA)


def write(
    root: Path, taken_at: datetime | None = None, rows: list[dict[str, object]] = ROWS
) -> Path:
    return write_snapshot(
        root,
        SUBJECT,
        SCHEMA,
        batches(rows),
        run_id=uuid4(),
        metadata={"flow": "test", "note": "ä"},
        taken_at=taken_at,
    )


def test_a_snapshot_gives_back_rows_types_and_metadata(tmp_path: Path) -> None:
    path = write(tmp_path, START)
    assert path.parent == tmp_path / "image_quality" / f"project={UUID(int=7)}"
    assert path.name.startswith("20240501T123015.123456Z_")
    file = pq.ParquetFile(path)
    assert file.schema_arrow.remove_metadata().equals(SCHEMA)
    assert file.read().to_pylist() == ROWS
    metadata = file.metadata.metadata
    assert metadata[b"visionflows.row_count"] == b"3"
    assert metadata[b"visionflows.flow"] == b"test"
    assert metadata[b"visionflows.note"].decode() == "ä"
    assert file.metadata.num_row_groups == 3
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_a_snapshot_of_nothing_has_its_columns(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path, rows=[]))
    assert table.num_rows == 0
    assert table.schema.names == SCHEMA.names


def test_one_batch_is_taken_at_a_time(tmp_path: Path) -> None:
    """Of three hundred batches, 48 MB in all, only a few may live at the same time."""
    before = pa.total_allocated_bytes()
    most = 0

    def many() -> Iterator[pa.RecordBatch]:
        nonlocal most
        for _ in range(300):
            yield pa.RecordBatch.from_pydict(
                {"value": pa.array(range(20_000), pa.int64())},
                schema=pa.schema([("value", pa.int64())]),
            )
            most = max(most, pa.total_allocated_bytes() - before)

    path = write_snapshot(
        tmp_path,
        SUBJECT,
        pa.schema([("value", pa.int64())]),
        many(),
        run_id=uuid4(),
        metadata={},
    )
    assert pq.ParquetFile(path).metadata.num_rows == 6_000_000
    assert most < 6_000_000


def test_times_of_any_zone_are_named_in_utc(tmp_path: Path) -> None:
    write(tmp_path, START.astimezone(timezone(timedelta(hours=5))))
    assert [snapshot.taken_at for snapshot in list_snapshots(tmp_path, SUBJECT)] == [START]


def test_the_newest_comes_last_whatever_was_written_last(tmp_path: Path) -> None:
    assert latest_snapshot(tmp_path, SUBJECT) is None
    times = [START + timedelta(days=days) for days in (2, 0, 3, 1)]
    paths = [write(tmp_path, taken_at) for taken_at in times]
    assert [snapshot.taken_at for snapshot in list_snapshots(tmp_path, SUBJECT)] == sorted(times)
    assert latest_snapshot(tmp_path, SUBJECT) == paths[2]
    other = SnapshotSubject("image_quality", "project", UUID(int=8))
    assert list_snapshots(tmp_path, other) == []


def test_after_the_clock_was_set_back_the_last_that_was_written_is_the_newest(tmp_path: Path):
    written_before = write(tmp_path, datetime.now(UTC) + timedelta(days=1))
    paths = [written_before, write(tmp_path), write(tmp_path)]
    assert [snapshot.path for snapshot in list_snapshots(tmp_path, SUBJECT)] == paths


def test_files_that_somebody_else_put_there_are_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path)
    foreign = [path.with_name(name) for name in ("mine.parquet", ".hidden.parquet", "notes.txt")]
    for file in foreign:
        file.touch()
    assert latest_snapshot(tmp_path, SUBJECT) == path
    prune_snapshots(tmp_path, SUBJECT, keep=1)
    assert all(file.exists() for file in foreign)


def test_a_killed_writer_leaves_no_snapshot(tmp_path: Path) -> None:
    writer = start_python(WRITE_FOR_EVER, str(tmp_path))
    read_line(writer)
    kill(writer)
    assert list_snapshots(tmp_path, SUBJECT) == []
    (leftover,) = SUBJECT.folder(tmp_path).iterdir()
    assert leftover.stat().st_size > 0
    # A day later the next writer removes what is left.
    yesterday = time.time() - 25 * 3600
    os.utime(leftover, (yesterday, yesterday))
    path = write(tmp_path)
    assert list(SUBJECT.folder(tmp_path).iterdir()) == [path]


def test_a_younger_leftover_may_belong_to_a_writer_at_work(tmp_path: Path) -> None:
    folder = SUBJECT.folder(tmp_path)
    folder.mkdir(parents=True)
    at_work = folder / ".another.parquet.0123.tmp"
    at_work.touch()
    write(tmp_path)
    assert at_work.exists()


def test_rows_that_fail_or_do_not_fit_leave_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches(ROWS[:1])
        raise ConnectionError

    arguments = {"run_id": uuid4(), "metadata": {}}
    with pytest.raises(ConnectionError):
        write_snapshot(tmp_path, SUBJECT, SCHEMA, broken(), **arguments)
    wrong = pa.RecordBatch.from_pydict({"other": [1]})
    with pytest.raises(ValueError, match="schema"):
        write_snapshot(tmp_path, SUBJECT, SCHEMA, [wrong], **arguments)
    assert list(SUBJECT.folder(tmp_path).iterdir()) == []


def test_keeping_none_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(InvalidInputError):
        prune_snapshots(tmp_path, SUBJECT, keep=0)
    assert path.exists()


@given(
    days=st.sets(st.integers(0, 40), max_size=8),
    keep=st.integers(1, 9),
    older_than=st.none() | st.integers(-1, 42),
)
def test_pruning_keeps_the_newest_and_removes_what_is_old_and_beyond_the_count(
    days: set[int], keep: int, older_than: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        SUBJECT.folder(root).mkdir(parents=True)
        paths = {}
        for day in days:
            taken_at = START + timedelta(days=day)
            name = f"{taken_at:%Y%m%dT%H%M%S.%fZ}_{uuid4()}.parquet"
            paths[day] = SUBJECT.folder(root) / name
            paths[day].touch()
        limit = None if older_than is None else START + timedelta(days=older_than)
        removed = prune_snapshots(root, SUBJECT, keep=keep, older_than=limit)
        gone = {
            day
            for day in days
            if sum(other > day for other in days) >= keep
            and (older_than is None or day < older_than)
        }
        assert set(removed) == {paths[day] for day in gone}
        assert {day for day in days if not paths[day].exists()} == gone
        assert not days or paths[max(days)].exists()


def test_latest_is_always_the_newest_and_no_snapshot_of_its_own(tmp_path):
    point_to_latest(tmp_path, SUBJECT)
    latest = SUBJECT.folder(tmp_path) / "latest.parquet"
    assert not latest.exists(), "there is none yet"
    for number in range(3):
        newest = write(tmp_path, START + timedelta(days=number), ROWS[: number + 1])
        point_to_latest(tmp_path, SUBJECT)
        point_to_latest(tmp_path, SUBJECT)
        assert latest.resolve() == newest
        assert pq.read_table(latest).num_rows == number + 1
    assert len(list_snapshots(tmp_path, SUBJECT)) == 3
    prune_snapshots(tmp_path, SUBJECT, keep=1)
    assert latest.resolve() == newest == latest_snapshot(tmp_path, SUBJECT)
    assert sorted(path.name for path in latest.parent.iterdir()) == [newest.name, latest.name]
