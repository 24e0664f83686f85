"""What a second run of compute-session-stats reads, marks, finds again, and leaves alone."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from storage.database.tables.jobs import JobStatus
from storage.errors import InvalidInputError
from storage.jobs.records import list_jobs
from storage.sessions.sessions import edit_session
from tasks.sessions.statistics import STATS_VERSION
from tests.session_folders import (
    COMBINATIONS,
    SWEEP,
    counts,
    make_session,
    manifest,
    set_age,
)


def test_unchanged_sessions_are_not_read_again(
    documented, session_flow, session_rows, database, monkeypatch
):
    first = session_flow().result()
    before = session_rows()
    assert (first["found"], first["new"], first["unchanged"]) == (3, 3, 0)

    def refuse(*_arguments):
        raise AssertionError("a session was read")

    with monkeypatch.context() as patched:
        # Whatever reads a session goes through this.
        patched.setattr("tasks.sessions.steps.compute_session_statistics", refuse)
        patched.setattr("tasks.sessions.manifest.files.open_regular_file", refuse)
        second = session_flow().result()
    assert second["unchanged"] == 3
    assert list_jobs(database)[0].total == 0
    assert session_rows() == before, "rows of unchanged sessions are not written again"
    assert second["snapshot"] == first["snapshot"]

    forced = session_flow(force_refresh=True).result()
    assert (forced["unchanged"], forced["snapshot"]) == (0, first["snapshot"])
    assert list_jobs(database)[0].processed == 3
    after = session_rows()
    for session_id, row in after.items():
        assert row.pop("stats_computed_at") > before[session_id].pop("stats_computed_at")
    assert after == before


def test_what_has_changed_is_read_again_and_nothing_else(
    documented, session_flow, session_rows, database
):
    session_flow()
    combinations = documented / "20251014_173320-combinations"
    (combinations / "image_0000.png").unlink()
    set_age(combinations)
    (documented / "seed list" / "manifest.json").write_text(json.dumps(COMBINATIONS))
    set_age(documented / "seed list", 1800)
    make_session(documented, "nested/deeper/new", SWEEP, 50)
    session_flow()
    job = list_jobs(database)[0]
    assert (job.total, job.processed) == (3, 3)
    rows = session_rows()
    assert counts(rows["20251014_173320-combinations"]) == (6, 5, 83.33, False)
    assert rows["seed list"]["images_expected"] == 6
    assert counts(rows["nested/deeper/new"]) == (50, 50, 100.0, True)


def test_another_version_of_the_statistics_reads_all_again(
    documented, session_flow, session_rows, database, monkeypatch
):
    session_flow()
    with database.transaction() as connection:
        connection.execute(text("UPDATE session_stats SET stats_version = 0"))
    session_flow()
    assert list_jobs(database)[0].processed == 3
    assert {row["stats_version"] for row in session_rows().values()} == {STATS_VERSION}


def test_a_session_that_is_still_written_is_looked_at_again(
    sessions_root, session_flow, session_rows, database
):
    session = make_session(sessions_root, "s", manifest(max_images=4, status="ongoing"), 2, age=0)
    session_flow()
    row = session_rows()["s"]
    assert row["is_ongoing"] and row["manifest_status"] == "ongoing"
    session_flow()
    assert list_jobs(database)[0].processed == 1, "looked at again, though nothing has changed"
    set_age(session)
    session_flow()
    assert not session_rows()["s"]["is_ongoing"]
    session_flow()
    assert list_jobs(database)[0].total == 0


def test_what_people_say_stays_and_deleting_it_deletes_the_statistics(
    documented, session_flow, session_rows, database
):
    with database.transaction() as connection:
        connection.execute(
            text(
                "INSERT INTO session_metadata (session_id, tags, flags) "
                "VALUES ('seed list', '{early}', '{favorite}')"
            )
        )
    session_flow()
    name = "20251014_173320-combinations"
    edit_session(database, name, add_tags=["keep", "print"], rating=4, note="for the wall")
    with database.transaction() as connection:
        before = connection.execute(
            text("SELECT * FROM session_metadata ORDER BY session_id")
        ).all()
    session_flow(force_refresh=True)
    with database.transaction() as connection:
        after = connection.execute(text("SELECT * FROM session_metadata ORDER BY session_id")).all()
        assert after == before
        connection.execute(
            text("DELETE FROM session_metadata WHERE session_id = :name"), {"name": name}
        )
        left = connection.scalars(text("SELECT session_id FROM session_stats ORDER BY 1")).all()
    assert left == ["2025-10-15_080000_sweep", "seed list"]
    kept = session_rows()["seed list"]
    assert (kept["tags"], kept["flags"]) == (["early"], ["favorite"])
    session_flow()
    assert list_jobs(database)[0].processed == 1, "only the deleted one is computed again"
    assert session_rows()[name]["tags"] == []


def test_a_folder_that_has_gone_is_marked_and_found_again(
    documented, tmp_path, session_flow, session_rows
):
    session_flow()
    before = session_rows()["seed list"]
    (documented / "seed list").rename(tmp_path / "away")
    assert session_flow().result()["gone"] == 1
    gone = session_rows()["seed list"]
    assert gone["folder_state"] == "missing" and gone["missing_since"] is not None
    assert counts(gone) == counts(before)
    (tmp_path / "away").rename(documented / "seed list")
    assert session_flow().result()["returned"] == 1
    assert session_rows()["seed list"] == before


def test_an_empty_root_changes_nothing_without_consent(
    documented, tmp_path, session_flow, session_rows, database
):
    session_flow()
    before = session_rows()
    documented.rename(tmp_path / "not mounted")
    documented.mkdir()
    state = session_flow()
    assert state.is_failed()
    with pytest.raises(InvalidInputError, match=r"3 of 3 sessions are gone .* --accept-losses"):
        state.result()
    assert session_rows() == before
    assert list_jobs(database)[0].status is JobStatus.FAILED
    assert session_flow(accept_losses=True).is_completed()
    assert {row["folder_state"] for row in session_rows().values()} == {"missing"}


def test_a_moved_session_keeps_what_people_said_of_it(
    documented, session_flow, session_rows, database
):
    session_flow()
    edit_session(database, "seed list", add_tags=["mine"])
    (documented / "2025").mkdir()
    (documented / "seed list").rename(documented / "2025" / "renamed")
    result = session_flow().result()
    assert (result["moved"], result["new"], result["gone"]) == (1, 0, 0)
    assert list_jobs(database)[0].total == 0
    row = session_rows()["seed list"]
    assert row["session_path"] == str(documented / "2025" / "renamed")
    assert row["tags"] == ["mine"] and row["folder_state"] == "present"


def test_the_same_name_under_two_roots_is_two_sessions(
    documented, tmp_path, session_flow, session_rows, database
):
    session_flow()
    other = tmp_path / "other"
    make_session(other, "seed list", SWEEP, 10)
    session_flow(sessions_root=str(other))
    rows = session_rows()
    assert rows["seed list"]["images_expected"] == 240
    second = rows[f"seed list@{other}"]
    assert (second["images_expected"], second["session_path"]) == (50, str(other / "seed list"))
    session_flow(sessions_root=str(other))
    assert list_jobs(database)[0].total == 0
    # And either name reaches it.
    for name in ("seed list", f"seed list@{other}"):
        session_flow(sessions_root=str(other), session_ids=[name], force_refresh=True)
        assert list_jobs(database)[0].processed == 1
    assert len(session_rows()) == 4


def test_a_whole_root_that_moves_keeps_its_sessions(
    documented, tmp_path, session_flow, session_rows, database
):
    session_flow()
    edit_session(database, "seed list", rating=5)
    new = tmp_path / "bigger disk"
    documented.rename(new)
    result = session_flow(sessions_root=str(new)).result()
    assert (result["moved"], result["new"]) == (3, 0)
    rows = session_rows()
    assert len(rows) == 3 and rows["seed list"]["rating"] == 5
    assert {row["sessions_root"] for row in rows.values()} == {str(new)}


def test_only_the_named_sessions(documented, session_flow, session_rows, database):
    session_flow(session_ids=["seed list"])
    assert set(session_rows()) == {"seed list"}
    session_flow()
    session_flow(session_ids=["seed list", "2025-10-15_080000_sweep"], force_refresh=True)
    assert list_jobs(database)[0].processed == 2
    assert {row["folder_state"] for row in session_rows().values()} == {"present"}
    for wrong in ("nobody", "../sessions/seed list", "/etc", ""):
        state = session_flow(session_ids=["seed list", wrong])
        assert state.is_failed(), wrong
        with pytest.raises(InvalidInputError):
            state.result()


def test_sessions_without_a_manifest_can_be_left_out(
    documented, session_flow, session_rows, database
):
    make_session(documented, "images only", None, 5)
    session_flow(stats_without_manifest=False)
    assert len(session_rows()) == 3
    session_flow()
    assert session_rows()["images only"]["images_actual"] == 5
    (documented / "images only" / "image_0000.png").unlink()
    assert session_flow(stats_without_manifest=False).result()["gone"] == 0
    assert list_jobs(database)[0].total == 0
    assert session_rows()["images only"]["images_actual"] == 5
