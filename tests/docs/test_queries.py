"""Every query that the documentation gives is run: over snapshots it sees the newest of each."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import polars
import pyarrow as pa
import pytest

from storage.database.connection import Database, execute
from storage.database.snapshot_views import IMAGE_QUALITY, SESSIONS
from storage.snapshots import SnapshotSubject
from tasks.inference.runs.snapshot_rows import RESULTS_SCHEMA
from tasks.projects.index_rows import IMAGE_INDEX_SCHEMA
from tasks.releases.statistics import IMAGE_ROWS_SCHEMA
from tasks.snapshots import keep_snapshot
from tests.places import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"```sql\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"`(SELECT [^`]*)`")
_SOURCE = re.compile(r"read_parquet\('([^']+)'(?:, hive_partitioning = true)?\)")


def queries() -> list[tuple[str, str]]:
    """Page and text of every documented query."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = [*_BLOCK.findall(text), *_INLINE.findall(text)]
        for block in blocks:
            plain = re.sub(r"^--.*$", "", block, flags=re.MULTILINE)
            found += [(page.name, one.strip()) for one in plain.split(";") if one.strip()]
    return found


OVER_SNAPSHOTS = [one for one in queries() if "snapshots/" in one[1]]
OVER_TABLES = [one for one in queries() if "snapshots/" not in one[1]]

_BOX = dict.fromkeys(("center_x", "center_y", "width", "height"), 0.5)
LABEL = {"class_name": "kite", "class_id": 0, "geometry": "box", "is_crowd": False, **_BOX}
POLYGON = {"class": "live", "confidence": 0.95, "coords": [[1.0, 2.0]]}
# Of each dataset: its schema, a row that the older snapshot has and the newest has twice.
DATASETS: dict[str, tuple[str, pa.Schema, dict[str, Any]]] = {
    "image_quality": ("project", IMAGE_QUALITY.schema, {"issues": ["blur", "dark"]}),
    "image_index": ("project", IMAGE_INDEX_SCHEMA, {"labels": [LABEL]}),
    "release_images": (
        "release",
        IMAGE_ROWS_SCHEMA,
        {"split": "val", "member": "a.jpg", "problem_rows": 1, "is_trainable": False},
    ),
    "session_stats": (
        "root",
        SESSIONS.schema,
        {"sd_model": "m", "completion_percentage": 50.0, "images_expected": 2},
    ),
    "inference_results": (
        "run",
        RESULTS_SCHEMA,
        {"run_id": "r", "name": "a.jpg", "polygons": [POLYGON, POLYGON | {"confidence": 0.5}]},
    ),
}
SUBJECTS = (UUID(int=1), UUID(int=2))
RESULTS: dict[tuple[str, str], list[tuple[Any, ...]]] = {
    ("README.md", "image_quality"): [(["blur", "dark"], 4)],
    ("quality-metrics.md", "image_quality"): [("blur", 4), ("dark", 4)],
    ("ingest-project.md", "image_index"): [("kite", "box", 4)],
    ("releases.md", "release_images"): [
        (str(subject), "val", "a.jpg", 1) for subject in SUBJECTS for _ in range(2)
    ],
    ("sessions.md", "session_stats"): [("m", 4, 50.0)],
    ("collection-inference.md", "inference_results"): [
        ("r", "a.jpg", "live", pytest.approx(0.95), [[1.0, 2.0]]) for _ in range(4)
    ],
}


def keep(dataset: str) -> None:
    """Two snapshots of each of two subjects."""
    kind, schema, row = DATASETS[dataset]
    loose = pa.schema([field.with_nullable(True) for field in schema])
    for subject in SUBJECTS:
        for count in (1, 2):
            batch = pa.RecordBatch.from_pylist([row] * count, schema=loose)
            where = SnapshotSubject(dataset, kind, subject)
            keep_snapshot(where, loose, lambda batch=batch: [batch], None, "test", uuid4())


@pytest.mark.parametrize(("page", "query"), OVER_SNAPSHOTS)
def test_queries_over_snapshots_count_the_newest_of_each_subject_once(
    page, query, home, monkeypatch
):
    (path,) = _SOURCE.findall(query)
    dataset = path.split("/")[1]
    keep(dataset)
    monkeypatch.chdir(home)
    assert len(list((home / "snapshots" / dataset).glob("*/2*.parquet"))) == 4
    # What DuckDB calls read_parquet(path) is scan_parquet(path) here; all else is the query itself.
    tables = polars.SQLContext(found=polars.scan_parquet(path, hive_partitioning=True))
    rows = tables.execute(_SOURCE.sub("found", query)).collect().rows()
    assert rows == RESULTS[page, dataset]


def test_no_page_is_forgotten():
    assert {page for page, _ in OVER_SNAPSHOTS} >= {
        *("README.md", "collection-inference.md", "ingest-project.md", "quality-metrics.md"),
        *("releases.md", "sessions.md"),
    }
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert "/*.parquet'" not in text, "it reads all kept snapshots"


@pytest.mark.parametrize(("page", "query"), OVER_TABLES)
def test_queries_over_tables_are_understood(page, query, database: Database):
    values = query.replace("'...'", f"'{UUID(int=1)}'")
    with database.transaction() as connection:
        execute(connection, values.replace(":", r"\:"))


def test_examples_that_are_cut_are_in_an_order():
    assert [query for _, query in queries() if "LIMIT" in query and "ORDER BY" not in query] == []
