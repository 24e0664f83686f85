"""compute-session-stats as a person runs it: real folders, a real server, a real database."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from storage.database.tables.jobs import JobStatus
from storage.errors import InvalidInputError
from storage.jobs.records import list_jobs
from storage.sessions.sessions import edit_session
from tests.flows.artifacts import artifacts_of
from tests.places import DATA
from tests.session_folders import (
    COMBINATIONS,
    SWEEP,
    counts,
    make_session,
    manifest,
)

NOBODY = 65534


@pytest.fixture
def reading_as_nobody(monkeypatch):
    """Folders are read as a user who may not read all; root's database needs root meanwhile."""

    def as_nobody(function):
        def call(*arguments):
            if os.geteuid() != 0:
                return function(*arguments)
            # Of this thread alone, and only for files: the others go on being root.
            libc = ctypes.CDLL(None)
            libc.setfsuid(NOBODY)
            try:
                return function(*arguments)
            finally:
                libc.setfsuid(0)

        return call

    @contextmanager
    def patched():
        from tasks.sessions import steps as tasks

        with monkeypatch.context() as patch:
            for name in ("find_sessions", "compute_session_statistics"):
                patch.setattr(tasks, name, as_nobody(getattr(tasks, name)))
            yield

    return patched


def test_the_documented_examples_give_the_documented_figures(
    documented, session_flow, session_rows, database
):
    state = session_flow()
    assert state.is_completed(), state.message
    rows = session_rows()
    combinations = rows["20251014_173320-combinations"]
    assert counts(combinations) == (6, 6, 100.0, False)
    assert counts(rows["2025-10-15_080000_sweep"]) == (50, 20, 40.0, True)
    assert counts(rows["seed list"]) == (240, 60, 25.0, True)

    assert combinations["session_path"] == str(documented / "20251014_173320-combinations")
    assert combinations["sd_model"] == "dreamshaper_8.safetensors"
    assert combinations["generation_mode"] == "combinatorial"
    assert combinations["seed_mode"] == "progressive"
    assert combinations["seed_base"] == 1000
    assert combinations["resolved_prompt"] == "a {Mood} cat"
    assert combinations["negative_prompt"] == "blurry"
    assert (combinations["width"], combinations["height"]) == (512, 768)
    assert (combinations["steps"], combinations["cfg_scale"]) == (30, 7.5)
    assert combinations["sampler_name"] == "DPM++ 2M Karras"
    assert combinations["placeholders_json"] == {"Expression": 3, "Angle": 2}
    assert combinations["variations_summary_json"] == {
        "Expression": ["happy", "sad", "angry"],
        "Angle": ["front", "side"],
    }
    assert rows["seed list"]["variations_summary_json"]["Outfit"] == [
        f"outfit {number}" for number in range(10)
    ]
    local = datetime(2025, 10, 14, 17, 33, 20).astimezone(UTC)
    assert combinations["session_created_at"] == local
    assert rows["seed list"]["session_created_at"] is None
    assert combinations["stats_source"] == "manifest"
    assert combinations["manifest_status"] == "completed"
    assert rows["seed list"]["manifest_status"] == "aborted"
    assert combinations["folder_state"] == "present"
    job = list_jobs(database)[0]
    assert (job.status, job.total, job.processed, job.failed) == (JobStatus.COMPLETED, 3, 3, 0)
    assert job.subject == str(documented)


def test_every_state_of_a_manifest_leaves_partial_statistics(
    sessions_root, session_flow, session_rows, database
):
    whole = json.dumps(COMBINATIONS).encode()
    broken = {
        "missing": None,
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "not json": b"hello",
        "a list": b"[1, 2]",
        "null": b"null",
        "byte order mark": b"\xef\xbb\xbf" + whole,
        "nan": whole.replace(b"7.5", b"NaN"),
        "text for a number": whole.replace(b"512", b'"wide"'),
        "variations as a list": json.dumps(
            {"snapshot": {"version": "1", "variations": ["a", "b"]}}
        ).encode(),
        "empty snapshot": b'{"snapshot": {}}',
        "nul and half a character": whole.replace(b"blurry", b"a\\u0000b\\ud800"),
        "enormous": whole.replace(b"100", b"9" * 400),
    }
    for name, content in broken.items():
        make_session(sessions_root, name, content, 3)
    (sessions_root / "missing" / "folder.png").mkdir()
    (sessions_root / "missing" / "link.png").symlink_to("image_0000.png")
    (sessions_root / "missing" / "UPPER.PNG").write_bytes(b"")
    state = session_flow()
    assert state.is_completed(), state.message
    rows = session_rows()
    assert set(rows) == set(broken)
    assert rows["missing"]["images_actual"] == 4
    for name in broken.keys() - {"missing"}:
        assert rows[name]["images_actual"] == 3, name
        assert rows[name]["problems"], name
        assert set(rows[name]["problems"][0]) == {"code", "place", "reason", "count"}
    for name in ("missing", "empty", "not json", "a list", "null", "empty snapshot"):
        assert rows[name]["stats_source"] == "filesystem", name
    assert rows["byte order mark"]["images_expected"] == 6
    assert rows["nan"]["cfg_scale"] is None
    assert rows["text for a number"]["width"] is None
    assert list_jobs(database)[0].failed == 0


def test_a_closed_folder_in_the_middle_keeps_what_was_known_and_the_others_are_computed(
    public_folder, session_flow, session_rows, database, reading_as_nobody
):
    root = public_folder / "sessions with a closed one"
    for name in ("20250101_000000-a", "20250102_000000-b", "20250103_000000-c"):
        make_session(root, name, COMBINATIONS, 6)
    make_session(root, "20250104_000000-never seen", SWEEP, 1)
    (root / "20250104_000000-never seen").chmod(0)
    closed = root / "20250102_000000-b"
    try:
        with reading_as_nobody():
            assert session_flow(sessions_root=str(root)).is_completed()
        assert list_jobs(database)[0].failed == 1
        before = session_rows()
        never = before["20250104_000000-never seen"]
        assert never["problems"][0]["code"] == "folder_unreadable"
        assert never["images_actual"] == 0 and never["session_created_at"] is not None
        closed.chmod(0)
        (root / "20250103_000000-c" / "new.png").write_bytes(b"")
        with reading_as_nobody():
            assert session_flow(sessions_root=str(root)).is_completed()
        job = list_jobs(database)[0]
        assert (job.total, job.processed, job.failed) == (3, 1, 2)
        after = session_rows()
        assert "Permission denied" in after[closed.name]["error_message"]
        assert {**after[closed.name], "error_message": None} == before[closed.name]
        assert after["20250103_000000-c"]["images_actual"] == 7
    finally:
        closed.chmod(0o755)
        (root / "20250104_000000-never seen").chmod(0o755)
    session_flow(sessions_root=str(root))
    rows = session_rows()
    assert {row["error_message"] for row in rows.values()} == {None}
    assert rows["20250104_000000-never seen"]["images_expected"] == 50


def test_a_manifest_that_cannot_be_read_does_not_cost_what_it_told_before(
    public_folder, session_flow, session_rows, database, reading_as_nobody
):
    root = public_folder / "sessions with a closed manifest"
    session = make_session(root, "known", COMBINATIONS, 6)
    session_flow(sessions_root=str(root))
    (session / "manifest.json").chmod(0)
    new = make_session(root, "new", SWEEP, 2)
    (new / "manifest.json").chmod(0)
    for images in (2, 3):
        with reading_as_nobody():
            assert session_flow(sessions_root=str(root), force_refresh=True).is_completed()
        rows = session_rows()
        assert rows["known"]["images_expected"] == 6
        assert "manifest.json" in rows["known"]["error_message"]
        assert (rows["new"]["images_actual"], rows["new"]["stats_source"]) == (images, "filesystem")
        (new / "added.png").write_bytes(b"")
    (new / "manifest.json").chmod(0o644)
    (session / "manifest.json").chmod(0o644)
    session_flow(sessions_root=str(root))
    rows = session_rows()
    assert counts(rows["new"]) == (50, 3, 6.0, True)
    assert rows["known"]["error_message"] is None


def test_seeds_of_64_bits_and_more_than_expected_are_kept(
    sessions_root, session_flow, session_rows
):
    make_session(sessions_root, "s", manifest(seed_base=2**64 - 1, max_images=2**62), 3)
    make_session(sessions_root, "more", manifest(num_images=2), 3)
    assert session_flow().is_completed()
    rows = session_rows()
    assert rows["s"]["seed_base"] == Decimal(2**64 - 1)
    assert counts(rows["more"])[:3] == (2, 3, 150.0)


def test_the_snapshot_holds_what_the_tables_say(documented, session_flow, session_rows, database):
    make_session(documented, "broken", b"{", 1)
    result = session_flow().result()
    edit_session(database, "seed list", add_tags=["kept"], rating=3)
    path = session_flow().result()["snapshot"]
    assert path != result["snapshot"], "what people say is in it, too"
    table = pq.read_table(path)
    rows = session_rows()
    assert table.num_rows == 4
    types = {field.name: str(field.type) for field in table.schema}
    assert types["placeholders_json"].startswith("map<string, int64")
    assert types["variations_summary_json"].startswith("map<string, list<")
    assert types["problems"].startswith("list<") and "struct<code: string" in types["problems"]
    for stored in table.to_pylist():
        row = rows[stored["session_id"]]
        for name, value in stored.items():
            expected = row[name]
            if name in ("placeholders_json", "variations_summary_json"):
                value = dict(value)
            assert value == expected, name
    assert set(rows["broken"]) - set(table.column_names) == {
        *("look_again", "missing_since", "sessions_root", "relative_path"),
    }
    assert pq.read_metadata(path).metadata[b"visionflows.sessions_root"] == str(documented).encode()


def test_artifacts_show_progress_models_and_incomplete_sessions(documented, session_flow):
    artifacts = {
        key.rsplit("-sessions", 1)[0].split("-tmp")[0]: artifact
        for key, artifact in artifacts_of(session_flow()).items()
    }
    assert set(artifacts) == {"sessions-progress", "sessions-summary"}
    assert artifacts["sessions-progress"].data == 100.0
    assert "3 computed, 0 failed, 0 of 3 to go" in artifacts["sessions-progress"].description
    summary = artifacts["sessions-summary"].data
    assert "3 sessions with 86 images, 296 expected; 2 incomplete" in summary
    assert "dreamshaper\\_8 | 3 | 2 | 86 |" in summary
    rows = [line for line in summary.splitlines() if " of " in line and line.startswith("| `")]
    assert [row.split(" | ")[4] for row in rows] == ["seed list", "2025-10-15\\_080000\\_sweep"]
    assert " | 25.00 % | 60 of 240 | " in rows[0]


def test_bad_parameters_are_refused(sessions_root, tmp_path, session_flow, database, monkeypatch):
    for parameters in ({"batch_size": 0}, {"session_ids": 5}):
        assert session_flow(**parameters).is_failed()
    for root, expected in ((tmp_path / "none", "is not a folder"), (None, "SESSIONS_ROOT")):
        state = session_flow(sessions_root=root and str(root))
        assert state.is_failed() and expected in state.message
    assert list_jobs(database) == []


def test_the_setting_names_the_default_root(documented, session_flow, session_rows, monkeypatch):
    from storage.settings import get_settings

    monkeypatch.setenv("VISIONFLOWS_SESSIONS_ROOT", str(documented))
    get_settings.cache_clear()
    assert session_flow(sessions_root=None).is_completed()
    assert len(session_rows()) == 3


def test_known_sessions_are_found_without_their_root(documented, tmp_path, session_flow, database):
    other = tmp_path / "other"
    make_session(other, "elsewhere", COMBINATIONS, 6)
    session_flow()
    session_flow(sessions_root=str(other))
    session_flow(sessions_root=None, session_ids=["elsewhere"], force_refresh=True)
    job = list_jobs(database)[0]
    assert (job.subject, job.processed) == (str(other), 1)
    for named in (["elsewhere", "seed list"], ["nobody"], []):
        refused = session_flow(sessions_root=None, session_ids=named)
        assert "VISIONFLOWS_SESSIONS_ROOT" in str(refused.result(raise_on_failure=False)), named


def test_a_deployment_looks_only_where_the_settings_allow(tmp_path, home, monkeypatch):
    from flows.compute_session_stats import resolve_sessions_root
    from storage.settings import get_settings

    allowed, other = tmp_path / "allowed", tmp_path / "other"
    for folder in (allowed / "inside", other):
        folder.mkdir(parents=True)
    (allowed / "way out").symlink_to(other)
    assert resolve_sessions_root(str(other), for_deployment=False) == str(other)
    monkeypatch.setenv("VISIONFLOWS_SESSIONS_ROOT", str(allowed))
    get_settings.cache_clear()
    for given in (None, str(allowed), str(allowed / "inside")):
        assert resolve_sessions_root(given, for_deployment=True).startswith(str(allowed))
    for given in (str(other), str(allowed / "way out"), str(allowed / ".." / "other")):
        with pytest.raises(InvalidInputError, match="VISIONFLOWS_DATA_ROOTS"):
            resolve_sessions_root(given, for_deployment=True)


def test_real_images_of_many_programs_tell_what_made_them(
    sessions_root, session_flow, session_rows
):
    parsers = DATA / "sd-parsers/tests/resources/parsers"
    for program in ("AUTOMATIC1111", "ComfyUI", "InvokeAI"):
        shutil.copytree(parsers / program, sessions_root / program)
    assert session_flow().is_completed()
    rows = session_rows()
    assert {row["stats_source"] for row in rows.values()} == {"image_metadata"}
    for program, row in rows.items():
        assert row["sd_model"] and row["steps"] and row["seed_min"] is not None, program
        assert row["images_actual"] == len(list(os.scandir(sessions_root / program)))
