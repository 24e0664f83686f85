"""Releases in the database: registered once, statistics replaced whole, failures beside them."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from storage.database.connection import Database
from storage.database.tables.releases import ReleaseStatsStatus
from storage.errors import InvalidInputError, NotFoundError
from storage.projects.projects import add_project
from storage.records import ReleaseStatsSource
from storage.releases import (
    ArchiveFacts,
    ComputedStatistics,
    choose_archive_path,
    confirm_statistics,
    find_release,
    list_releases,
    list_releases_to_build,
    load_release_details,
    mark_failed,
    mark_to_be_built,
    register_release,
    store_statistics,
)
from tests.storage.processes import run_together

STATISTICS = ComputedStatistics(
    source=ReleaseStatsSource.SCAN,
    train_image_count=8,
    val_image_count=2,
    test_image_count=0,
    class_count=2,
    classes=["open", "nul \0 and half \udce4"],
    shapes={"unsplit_image_count": 3, "aspect": float("nan")},
    problems=[{"code": "x", "member": "a\0b", "line": 1, "detail": ""}],
    archive=ArchiveFacts(100, datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)),
    content_key="k" * 64,
    version=1,
)


def store(database: Database, release_id, statistics=STATISTICS) -> None:
    with database.transaction() as connection:
        store_statistics(connection, release_id, statistics)


def fail(database: Database, release_id, message="it broke") -> None:
    with database.transaction() as connection:
        mark_failed(connection, release_id, message)


def test_an_archive_is_one_release_however_often_it_is_registered(database: Database) -> None:
    first = register_release(database, Path("/data/mussels.zip"))
    assert (first.name, first.stats_status, first.has_statistics) == (
        "mussels",
        ReleaseStatsStatus.PENDING,
        False,
    )
    assert register_release(database, Path("/data/mussels.zip")) == first
    other = register_release(database, Path("/other/mussels.zip"))
    third = register_release(database, Path("/third/mussels.zip"))
    assert (other.name, third.name) == ("mussels (2)", "mussels (3)")
    assert [release.name for release in list_releases(database)] == [
        *("mussels", "mussels (2)", "mussels (3)")
    ]
    assert find_release(database, "mussels (2)") == find_release(database, str(other.id)) == other


def test_a_name_of_somebodys_choice_is_never_changed(database: Database) -> None:
    path = Path("/data/a.zip")
    release = register_release(database, path, name="spring")
    assert register_release(database, path).name == "spring"
    assert register_release(database, path, name="spring").id == release.id
    with pytest.raises(InvalidInputError, match="registered as release 'spring'"):
        register_release(database, path, name="autumn")
    with pytest.raises(InvalidInputError, match=r"is the archive /data/a\.zip"):
        register_release(database, Path("/data/b.zip"), name="spring")


def test_an_unknown_name_is_told_with_those_that_exist(database: Database) -> None:
    with pytest.raises(NotFoundError, match="No release is registered yet"):
        find_release(database, "x")
    register_release(database, Path("/data/a.zip"))
    with pytest.raises(NotFoundError, match="Registered releases: a"):
        find_release(database, "nul \0")


REGISTER = """
    import sys
    from pathlib import Path
    from storage.database.connection import open_database
    from storage.releases import register_release
    database = open_database()
    print("ready", flush=True)
    sys.stdin.readline()
    print(register_release(database, Path(sys.argv[1])).id, flush=True)
"""


def test_registered_at_once_by_several_it_is_one_release(database: Database) -> None:
    ids = run_together(REGISTER, 3, "/data/mussels.zip")
    assert len(set(ids)) == 1
    assert len(list_releases(database)) == 1


def test_statistics_are_stored_as_a_whole_and_read_back(database: Database) -> None:
    release = register_release(database, Path("/data/a.zip"))
    assert load_release_details(database, release.id) is None
    store(database, release.id)
    found = find_release(database, "a")
    assert (found.train_image_count, found.val_image_count, found.test_image_count) == (8, 2, 0)
    assert found.stats_status is ReleaseStatsStatus.COMPLETED
    assert found.stats_source is ReleaseStatsSource.SCAN
    assert found.archive_facts == STATISTICS.archive
    details = load_release_details(database, release.id)
    assert details is not None
    assert details.classes == ["open", "nul \\0 and half \\udce4"]
    assert details.shapes == {"unsplit_image_count": 3, "aspect": None}
    assert details.problems[0]["member"] == "a\\0b"
    assert found.split_counts(details) == {"train": 8, "val": 2, "test": 0, "unsplit": 3}
    store(database, release.id, replace(STATISTICS, train_image_count=9))
    assert find_release(database, "a").train_image_count == 9


def test_a_failure_stands_beside_the_earlier_statistics(database: Database) -> None:
    release = register_release(database, Path("/data/a.zip"))
    store(database, release.id)
    before = find_release(database, "a")
    fail(database, release.id, "nul \0 " + "x" * 600)
    after = find_release(database, "a")
    assert after.stats_error is not None and len(after.stats_error) == 500
    assert replace(after, stats_status=before.stats_status, stats_error=None) == before, (
        "nothing else has changed"
    )
    assert load_release_details(database, release.id) is not None

    facts = ArchiveFacts(101, STATISTICS.archive.modified_at)
    with database.transaction() as connection:
        confirm_statistics(connection, release.id, facts)
    confirmed = find_release(database, "a")
    assert confirmed.stats_error is None and confirmed.archive_facts == facts
    assert confirmed.stats_computed_at == before.stats_computed_at


def test_what_is_to_be_built_is_pending_or_stale(database: Database) -> None:
    names = ("new", "computed", "failed", "failed later")
    _, computed, failed, failed_later = (
        register_release(database, Path(f"/data/{name}.zip")) for name in names
    )
    for one in (computed, failed_later):
        store(database, one.id)
    for one in (failed, failed_later):
        fail(database, one.id)
    assert [one.name for one in list_releases_to_build(database)] == ["new"]
    mark_to_be_built(database, [computed.id, failed.id, failed_later.id])
    statuses = {one.name: one.stats_status.value for one in list_releases_to_build(database)}
    assert statuses == {
        "new": "pending",
        "computed": "stale",
        "failed": "pending",
        "failed later": "stale",
    }
    mark_to_be_built(database, [])


@pytest.mark.parametrize(
    "wrong",
    [
        "stats_status = 'failed'",
        "stats_error = 'a reason without a failure'",
        "stats_status = 'completed'",
        "train_image_count = 1, stats_computed_at = now()",
    ],
)
def test_half_a_truth_is_refused_by_the_table(database: Database, wrong: str) -> None:
    release = register_release(database, Path("/data/a.zip"))
    with pytest.raises(IntegrityError), database.transaction() as connection:
        connection.execute(text(f"UPDATE releases SET {wrong} WHERE id = :id"), {"id": release.id})


def test_a_release_outlives_its_project(database: Database) -> None:
    project = add_project(database, "p", Path("/data/p"))
    release = register_release(database, Path("/data/a.zip"), project_id=project.id)
    assert release.project == "p"
    assert register_release(database, Path("/data/a.zip")).project_id == project.id
    assert list_releases(database, project_id=uuid4()) == []
    assert list_releases(database, project_id=project.id) == [release]
    with database.transaction() as connection:
        connection.execute(text("DELETE FROM projects"))
    assert find_release(database, "a").project_id is None


def test_facts_of_a_file_survive_the_database_to_the_microsecond(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"12345")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    facts = ArchiveFacts.of(path)
    assert facts == ArchiveFacts(5, datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC))
    release = register_release(database, path)
    store(database, release.id, replace(STATISTICS, archive=facts))
    assert find_release(database, "a").archive_facts == facts


@pytest.mark.parametrize("name", ["../x", "a/b", "/x", "..", ".hidden", "a\\b"])
def test_a_name_that_looks_like_a_path_is_no_name_of_a_release(database, home, name):
    with pytest.raises(InvalidInputError, match="begins with a dot or has a slash"):
        choose_archive_path(database, name, "", for_deployment=False)
    path = choose_archive_path(database, "x-2026.05", "", for_deployment=False)
    assert path == home / "releases" / "x-2026.05.zip"
