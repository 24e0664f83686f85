"""Sessions in the database: registering, storing, what people say, and what indexes serve."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from storage.database.connection import Database
from storage.errors import NotFoundError
from storage.sessions.queries import (
    SessionFilter,
    find_session,
    list_models,
    list_sessions,
    listing_query,
    load_session_overview,
    model_files,
)
from storage.sessions.sessions import (
    FolderRegistration,
    StoredSession,
    edit_session,
    known_sessions,
    register_session_folders,
    store_sessions,
)
from tests.storage.session_rows import BEGUN, ROOT, add_sessions, stats


def ids(database: Database, chosen: SessionFilter, limit: int | None = None) -> list[str]:
    return [row["session_id"] for row in list_sessions(database, chosen, limit=limit)]


# Ten thousand sessions of a thousand models, made where they are stored: it takes no second.
_MANY_SESSIONS = """
INSERT INTO session_metadata (session_id)
SELECT 's' || to_char(n, 'FM00000') FROM generate_series(0, 9999) AS n;
INSERT INTO session_folders (id, session_id, sessions_root, relative_path, state)
SELECT gen_random_uuid(), session_id, '/sessions', session_id, 'present' FROM session_metadata;
INSERT INTO session_stats (session_id, session_path, sd_model, images_expected, images_actual,
    completion_percentage, is_seed_sweep, session_created_at, stats_computed_at, stats_version,
    stats_source, is_ongoing, look_again, images_sampled)
SELECT 's' || to_char(n, 'FM00000'), '/sessions/s', 'model_' || n % 1000 || '.safetensors', 10,
    n % 11, 10.0 * (n % 11), n % 7 = 0, CAST('2025-01-01Z' AS timestamptz) + n * interval '1 hour',
    now(), 1, 'manifest', false, false, 0
FROM generate_series(0, 9999) AS n;
ANALYZE session_metadata, session_folders, session_stats
"""


def test_listing_ten_thousand_sessions_uses_the_indexes(database: Database) -> None:
    with database.transaction() as connection:
        for statement in _MANY_SESSIONS.split(";"):
            connection.execute(text(statement))
    late = BEGUN + timedelta(hours=9_900)
    served = {
        "ix_session_stats_session_created_at": SessionFilter(since=late),
        "ix_session_stats_session_created_at ": SessionFilter(),
        "ix_session_stats_sd_model": SessionFilter(model="model_3"),
        "ix_session_stats_is_seed_sweep": SessionFilter(sweeps=True),
        "ix_session_stats_": SessionFilter(incomplete=True),
        "ix_session_stats_s": SessionFilter(model="model_3", incomplete=True, since=late),
    }
    least_complete = (
        "SELECT * FROM session_stats WHERE completion_percentage < 5 "
        "ORDER BY completion_percentage LIMIT 50"
    )
    queries = {index: listing_query(chosen, limit=50) for index, chosen in served.items()}
    queries["ix_session_stats_completion_percentage"] = (least_complete, {})
    with database.reading() as connection:
        for index, (query, values) in queries.items():
            plan = "\n".join(connection.scalars(text(f"EXPLAIN {query}"), values))
            assert index.strip() in plan, plan
            assert "Seq Scan on session_stats" not in plan, plan


def test_filters_choose_what_they_say_and_the_newest_come_first(database: Database) -> None:
    add_sessions(database, ((f"s{number:03}", stats(number)) for number in range(300)))
    chosen: dict[str, tuple[SessionFilter, Any]] = {
        "model": (SessionFilter(model="model_3.safetensors"), lambda n: n % 20 == 3),
        "incomplete": (SessionFilter(incomplete=True), lambda n: n % 11 < 10),
        "sweeps": (SessionFilter(sweeps=True), lambda n: n % 7 == 0),
        "since": (SessionFilter(since=BEGUN + timedelta(hours=250)), lambda n: n >= 250),
        "all of them": (
            SessionFilter(model="model_3", incomplete=True, sweeps=True, since=BEGUN),
            lambda n: n % 20 == 3 and n % 11 < 10 and n % 7 == 0,
        ),
    }
    for name, (condition, holds) in chosen.items():
        expected = [f"s{number:03}" for number in reversed(range(300)) if holds(number)]
        assert ids(database, condition) == expected, name
        assert ids(database, condition, limit=2) == expected[:2], name


def test_one_image_too_few_of_a_hundred_thousand_is_incomplete(database: Database) -> None:
    add_sessions(
        database,
        {
            "one lacks": stats(
                images_expected=100_000, images_actual=99_999, completion_percentage=100.0
            ),
            "whole": stats(10),
            "more": stats(images_actual=11, completion_percentage=110.0),
            "nothing expected": stats(images_expected=0, completion_percentage=0.0),
        }.items(),
    )
    assert ids(database, SessionFilter(incomplete=True)) == ["one lacks"]
    overview = load_session_overview(database, ROOT)
    assert overview.incomplete == 1
    assert [row["session_id"] for row in overview.incomplete_sessions] == ["one lacks"]
    assert sum(model.incomplete for model in list_models(database)) == 1


def test_a_session_without_a_date_in_its_name_began_with_its_first_image(
    database: Database,
) -> None:
    late = datetime(2025, 6, 1, tzinfo=UTC)
    add_sessions(
        database,
        {
            "named": stats(session_created_at=late),
            "late": stats(session_created_at=None, first_image_created_at=late),
            "early": stats(session_created_at=None, first_image_created_at=BEGUN),
            "unknown": stats(session_created_at=None),
        }.items(),
    )
    assert ids(database, SessionFilter(since=late)) == ["named", "late"]
    assert ids(database, SessionFilter()) == ["named", "early", "late", "unknown"]


def test_missing_sessions_are_listed_only_when_asked_for(database: Database) -> None:
    add_sessions(database, {"a": stats(1), "b": stats(2)}.items())
    (gone,) = (known.folder_id for known in known_sessions(database) if known.session_id == "a")
    with database.transaction() as connection:
        register_session_folders(connection, ROOT, FolderRegistration([], {}, [], [gone]))
    assert ids(database, SessionFilter()) == ["b"]
    assert ids(database, SessionFilter(include_missing=True)) == ["b", "a"]
    overview = load_session_overview(database, ROOT)
    assert (overview.sessions, overview.missing, overview.images) == (1, 1, 2)


def test_models_are_summed_whatever_told_their_name(database: Database) -> None:
    add_sessions(
        database,
        {
            "a": stats(10, sd_model="x.safetensors"),
            "b": stats(5, sd_model="x"),
            "c": stats(0, sd_model="x.ckpt", images_expected=0, completion_percentage=0),
            "d": stats(3, sd_model=None),
            "e": stats(3, sd_model=None, images_expected=2**63 - 1),
            "f": stats(3, sd_model=None, images_expected=2**63 - 1),
        }.items(),
    )
    x, unknown = list_models(database)
    assert (x.sd_model, x.sessions, x.incomplete, x.images, x.images_expected) == (
        "x",
        3,
        1,
        15,
        20,
    )
    assert x.mean_completion == 75.0, "over those that expect images"
    assert unknown.sd_model is None and unknown.images_expected == 2**63 - 1
    assert len(ids(database, SessionFilter(model="x.ckpt"))) == 3
    assert model_files("v1.5") == ["v1.5", "v1.5.safetensors", "v1.5.ckpt"]


def test_people_edit_tags_rating_and_note(database: Database) -> None:
    add_sessions(database, {"s": stats(1)}.items())
    edit_session(database, "s", add_tags=["b", "a", "b"], rating=3, note="n")
    edit_session(database, "s", add_tags=["c", "a"], remove_tags=["b"])
    session = find_session(database, "s")
    assert (session["tags"], session["rating"], session["note"]) == (["a", "c"], 3, "n")
    edit_session(database, "s", clear_rating=True, note="")
    session = find_session(database, "s")
    assert (session["tags"], session["rating"], session["note"]) == (["a", "c"], None, "")
    assert ids(database, SessionFilter(tag="c")) == ["s"]
    assert ids(database, SessionFilter(tag="b")) == []
    with pytest.raises(NotFoundError, match="'nobody'"):
        edit_session(database, "nobody", rating=1)
    with pytest.raises(IntegrityError):
        edit_session(database, "s", rating=6)


def test_an_unknown_session_is_answered_with_similar_ids(database: Database) -> None:
    add_sessions(database, {"20251014_173320-Cats": stats(1)}.items())
    with pytest.raises(NotFoundError, match="20251014_173320-Cats"):
        find_session(database, "cats")
    assert find_session(database, "20251014_173320-Cats")["images_actual"] == 1


def test_what_no_table_can_hold_is_made_storable(database: Database) -> None:
    odd = stats(
        resolved_prompt="a\0b\udc80",
        seed_base=2**64 - 1,
        problems=[{"code": "x", "place": "\0", "reason": "r", "count": 1}],
        variations_summary_json={"\0": ["\ud800"]},
    )
    add_sessions(database, {"s": odd}.items())
    session = find_session(database, "s")
    assert session["resolved_prompt"] == "a\\0b\\udc80"
    assert session["seed_base"] == 2**64 - 1
    assert session["problems"][0]["place"] == "\\0"
    assert session["variations_summary_json"] == {"\\0": ["\\ud800"]}


def test_a_session_deleted_while_it_is_computed_is_left_out(database: Database) -> None:
    add_sessions(database, {"a": stats(1), "b": stats(2)}.items())
    known = {session.session_id: session.folder_id for session in known_sessions(database)}
    deleting = database.engine.connect()
    deleting.begin()
    deleting.execute(text("DELETE FROM session_metadata WHERE session_id = 'a'"))
    failures: list[BaseException] = []

    def store() -> None:
        try:
            with database.transaction() as connection:
                store_sessions(
                    connection,
                    [StoredSession(known[name], stats(9), (1, 2, 3)) for name in ("a", "b")],
                )
        except BaseException as error:
            failures.append(error)

    storing = threading.Thread(target=store)
    storing.start()
    storing.join(0.3)
    assert storing.is_alive(), "it waits for the deletion to be decided"
    deleting.commit()
    deleting.close()
    storing.join(30)
    assert failures == []
    assert ids(database, SessionFilter()) == ["b"]
    assert find_session(database, "b")["images_actual"] == 9


def test_two_roots_that_register_the_same_names_at_once(database: Database) -> None:
    names = [f"s{number:03}" for number in range(200)]
    roots = ("/one", "/two")
    together = threading.Barrier(2)
    found: dict[str, dict[str, Any]] = {}

    def register(root: str) -> None:
        together.wait()
        with database.transaction() as connection:
            shuffled = names if root == "/one" else names[::-1]
            found[root] = register_session_folders(
                connection, root, FolderRegistration(shuffled, {}, [], [])
            )

    threads = [threading.Thread(target=register, args=[root]) for root in roots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [sorted(found[root]) for root in roots] == [names, names]
    stored = {session.session_id for session in known_sessions(database)}
    assert len(stored) == 400
    assert set(names) < stored
    assert all("@/" in session_id for session_id in stored - set(names))
