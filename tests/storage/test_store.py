"""What is kept in a bucket: written whole, listed, read by others, and removed."""

from __future__ import annotations

import io
import os
from datetime import timedelta
from uuid import UUID

import polars
import pyarrow as pa
import pytest

from storage.errors import ConfigurationError
from storage.files import atomic_file, remove_tree, write_files
from storage.settings import Settings, get_settings
from storage.snapshots import (
    LATEST,
    SnapshotSubject,
    list_snapshots,
    list_subjects,
    point_to_latest,
    prune_snapshots,
    snapshot_metadata,
    write_snapshot,
)
from tests.storage.test_snapshots import ROWS, SCHEMA, START

SUBJECT = SnapshotSubject("image_quality", "project", UUID(int=7))


def test_a_store_is_a_url(monkeypatch, tmp_path):
    settings = Settings(home=tmp_path, store="s3://bucket/results/")
    assert str(settings.report_page("prune", 1)) == "s3://bucket/results/reports/prune/1.html"
    assert settings.exports_folder == tmp_path / "exports", "what can be made again"
    monkeypatch.setenv("VISIONFLOWS_STORE", "/data/results")
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError, match="VISIONFLOWS_STORE cannot be '/data/results'"):
        get_settings()
    get_settings.cache_clear()


def test_objects_are_files_to_whoever_has_their_paths(bucket, faults):
    path = bucket / "a" / "b.bin"
    with atomic_file(path) as temporary:
        temporary.write_bytes(b"0123456789")
        os.utime(temporary, ns=(5_000_000_007, 5_000_000_007))
    with pytest.raises(ZeroDivisionError), atomic_file(bucket / "a" / "none") as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    faults[:] = ["503", "503"]  # tried again, without a word
    moved = path.replace(bucket / "a" / "c.bin")
    assert (moved.stat().st_size, moved.stat().st_mtime_ns) == (10, 5_000_000_007)
    with moved.open("rb") as file:
        assert (file.read(3), file.seek(-2, os.SEEK_END), file.read()) == (b"012", 8, b"89")
    for look in (path.stat, path.read_bytes, lambda: path.open("rb")):
        with pytest.raises(FileNotFoundError, match="There is no s3:"):
            look()
    with pytest.raises(io.UnsupportedOperation):
        path.open("wb")
    with pytest.raises(io.UnsupportedOperation, match="no symlink_to"):
        path.symlink_to(moved)
    write_files(bucket / "many", {f"{number}.json": b"{}" for number in range(20)})
    assert [one.name for one in bucket.iterdir()] == ["a", "many"]
    assert [str(one.relative_to(bucket)) for one in bucket.glob("[!m]*/*.bin")] == ["a/c.bin"]
    remove_tree(bucket / "many")
    assert [one.name for one in bucket.iterdir()] == ["a"]


def test_snapshots_in_a_bucket_are_read_by_others(bucket, object_store):
    root = bucket / "results" / "snapshots"
    batch = pa.RecordBatch.from_pylist(ROWS, schema=SCHEMA)
    for day in range(3):
        path = write_snapshot(
            root,
            SUBJECT,
            SCHEMA,
            [batch] * (day + 1),
            run_id=UUID(int=day),
            metadata={"flow": "quality-metrics"},
            taken_at=START + timedelta(days=day),
        )
        point_to_latest(root, SUBJECT)
    assert snapshot_metadata(path) == {"flow": "quality-metrics", "row_count": "9"}
    assert list_subjects(root) == [SUBJECT]
    assert len(prune_snapshots(root, SUBJECT, keep=1)) == 2
    assert [one.path for one in list_snapshots(root, SUBJECT)] == [path]
    assert [one.name for one in path.parent.iterdir()] == [path.name, LATEST]
    options = {"aws_endpoint_url": object_store[0], "aws_allow_http": "true"}
    read = polars.read_parquet(f"{root}/image_quality/*/latest.parquet", storage_options=options)
    assert read.rows(named=True)[:3] == ROWS and len(read) == 9
