"""What the tables and files of a home say, without what differs between two equal runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import psycopg
import pyarrow.parquet as pq

_ID = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])"
)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:\+\d\d:?\d\d|Z)?")
_NANOSECONDS = re.compile(r"(?<!\d)\d{19}(?!\d)")
_TEMPORARY = re.compile(r"\..+\.tmp")
_STAMP = re.compile(r"\d{8}T\d{6}(?:\.\d+)?Z?")
# How a run went, not what it found; a disturbed one needs two.
_OF_THE_RUN = {"alembic_version", "jobs", "job_chunks"}
# The last is made of the times at which generated label files were written.
_COLUMNS_OF_THE_RUN = {"inference_ms", "job_id", "flow_run_id", "labels_fingerprint"}
# What a home holds beside results: servers, their logs, and locks.
_NO_RESULTS = {"postgresql", "prefect", "stack", "logs"}

_Rows = Iterable[tuple[str, dict[str, object]]]


class Contents:
    """Reads a home whose ids and times from before the trial are `known` and compared as they are.

    New ids are named by what their rows say, times after `began` are all the same.
    """

    def __init__(self, known: Iterable[str], began: datetime) -> None:
        self._known = set(known)
        self._began = began
        self._names: dict[str, str] = {}

    def read(self, url: str, home: Path) -> list[str]:
        """Every row and every file as a line of text, sorted."""
        return sorted([*self._rows(url), *self._files(home)])

    def _rows(self, url: str) -> list[str]:
        rows = list(_without_numbers(rows_of(url)))
        self._names = {
            str(row["id"]): f"{table} {hashlib.sha256(self._plain(row).encode()).hexdigest()[:12]}"
            for table, row in rows
            if "id" in row
        }
        return [f"{table} {self._plain(row)}" for table, row in rows]

    def _plain(self, value: object) -> str:
        return self._masked(json.dumps(value, sort_keys=True, default=str))

    def _masked(self, words: str) -> str:
        words = _ID.sub(
            lambda at: at[0] if at[0] in self._known else self._names.get(at[0], "(new)"), words
        )
        words = _TIME.sub(lambda at: at[0] if self._is_old(at[0]) else "(now)", words)
        since = self._began.timestamp() * 1e9
        return _NANOSECONDS.sub(lambda at: at[0] if int(at[0]) < since else "(now)", words)

    def _is_old(self, words: str) -> bool:
        try:
            time = datetime.fromisoformat(words)
        except ValueError:
            return True
        return time.replace(tzinfo=time.tzinfo or self._began.tzinfo) < self._began

    def _files(self, home: Path) -> Iterable[str]:
        newest: dict[str, list[str]] = {}
        for path in sorted(home.rglob("*")):
            inside = path.relative_to(home)
            if inside.parts[0] in _NO_RESULTS or not path.is_file() or path.suffix == ".lock":
                continue
            if _TEMPORARY.fullmatch(path.name):
                continue  # of a writer that was killed; it is removed when it is an hour old
            name = _STAMP.sub("(now)", self._masked(str(inside)))
            if path.suffix == ".parquet":
                # Each must be whole; an older one may be there of the run that was disturbed.
                table = pq.read_table(path).to_pylist()
                newest[name] = [name, *(f"{name} {self._plain(_of_results(row))}" for row in table)]
            elif path.suffix == ".html":
                whole = path.read_text(encoding="utf-8").rstrip().endswith("</html>")
                yield f"{name} {'whole' if whole else 'cut off'}"
            elif path.suffix in (".json", ".yaml", ".txt"):
                yield f"{name} {self._masked(path.read_text(encoding='utf-8'))}"
            else:
                yield f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for lines in newest.values():
            yield from lines


def rows_of(url: str) -> _Rows:
    """Every row of every table of results, as JSON."""
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    with psycopg.connect(url) as connection:
        for (table,) in connection.execute(tables).fetchall():
            if table in _OF_THE_RUN:
                continue
            for (row,) in connection.execute(f"SELECT to_jsonb(t) FROM {table} t").fetchall():
                yield table, _of_results(row)


def _without_numbers(rows: _Rows) -> _Rows:
    """Rows whose ids are no numbers: a transaction that was broken off has used some up."""
    rows = list(rows)
    names = {row["id"]: row["name"] for table, row in rows if table == "project_classes"}
    for table, row in rows:
        if table == "image_classes":
            row = {**row, "class_id": names[row["class_id"]]}
        yield table, {key: value for key, value in row.items() if not _is_number(key, value)}


def _is_number(key: str, value: object) -> bool:
    return key == "id" and isinstance(value, int)


def _of_results(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in _COLUMNS_OF_THE_RUN}


def ids_of(url: str, home: Path) -> set[str]:
    """All ids that tables and names of files have."""
    rows = (json.dumps(row, default=str) for _, row in rows_of(url))
    paths = (str(path.relative_to(home)) for path in home.rglob("*"))
    return {found[0] for words in (*rows, *paths) for found in _ID.finditer(words)}
