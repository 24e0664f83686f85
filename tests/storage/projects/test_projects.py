"""Registering projects and their files as sets."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from storage.database.connection import Database
from storage.errors import InvalidInputError, NotFoundError
from storage.projects.images import (
    KnownFile,
    RegisteredFile,
    RegistrationCounts,
    known_files,
    register_files,
)
from storage.projects.projects import ProjectRecord, add_project, find_project, list_projects

ODD_NAMES = [
    "with 'single' and \"double\" quotes.jpg",
    "tab\there.jpg",
    "back\\slash\\N.jpg",
    "two\nlines\r.jpg",
    "ümläut/日本語/🦪.jpg",
    "\\N",
    "{a,b}, (c) %s $1 :name.jpg",
    " blanks ",
]


def counts(**changed: int) -> RegistrationCounts:
    """The counts of a registration; what is not named is 0."""
    nothing = dict.fromkeys(("added", "changed", "moved", "returned", "missing", "relabeled"), 0)
    return RegistrationCounts(**nothing | changed)


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def file(path: str, content: str | None = None, *, changed: int = 1) -> RegisteredFile:
    data = (content or path).encode()
    digest = hashlib.sha256(data).hexdigest()
    return RegisteredFile(path, len(data), changed, digest, 640, 480, "JPEG")


def register(
    database: Database,
    project: ProjectRecord,
    files: list[RegisteredFile],
    present: list[str] | None = None,
) -> RegistrationCounts:
    paths = [item.relative_path for item in files] if present is None else present
    return register_files(database, project, files, paths)


def shared_count(database: Database) -> int:
    with database.transaction() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM shared_images")))


@pytest.fixture
def project(database: Database) -> ProjectRecord:
    return add_project(database, "mussels", Path("/data/mussels"))


def test_adding_a_project_again_gives_the_same_one(
    database: Database, project: ProjectRecord
) -> None:
    assert add_project(database, "mussels", Path("/data/mussels")) == project
    assert list_projects(database) == [project]
    assert (project.name, project.path) == ("mussels", Path("/data/mussels"))
    assert (project.image_count, project.missing_count) == (0, 0)


def test_many_who_add_the_same_project_get_the_same_one(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        added = pool.map(lambda _: add_project(database, "a", Path("/a")).id, range(16))
        assert len(set(added)) == 1


def test_a_name_or_folder_that_is_taken_is_refused(
    database: Database, project: ProjectRecord
) -> None:
    with pytest.raises(InvalidInputError, match="/data/mussels; choose another name"):
        add_project(database, "mussels", Path("/elsewhere"))
    with pytest.raises(InvalidInputError, match="registered as project 'mussels'"):
        add_project(database, "other", Path("/data/mussels"))
    assert len(list_projects(database)) == 1


def test_a_project_is_found_by_name_and_by_id(database: Database, project: ProjectRecord) -> None:
    # Somebody names a project as another one's id: the id goes first.
    disguised = add_project(database, str(project.id), Path("/disguised"))
    assert find_project(database, "mussels") == project
    assert find_project(database, str(project.id)) == project
    assert find_project(database, str(disguised.id)) == disguised


def test_an_unknown_project_is_reported_with_those_that_exist(database: Database) -> None:
    with pytest.raises(NotFoundError, match="run ingest-project"):
        find_project(database, "nothing")
    add_project(database, "mussels", Path("/data/mussels"))
    with pytest.raises(NotFoundError, match="Registered projects: mussels"):
        find_project(database, "nothing")


def test_new_changed_missing_and_returned_files_are_counted(
    database: Database, project: ProjectRecord
) -> None:
    files = [file(name) for name in ("a.jpg", "b/b.jpg", "c.jpg")]
    assert register(database, project, files) == counts(added=3)
    assert register(database, project, files[:0], ["a.jpg", "b/b.jpg", "c.jpg"]) == (counts())
    changed = file("a.jpg", "other bytes", changed=2)
    assert register(database, project, [changed, file("d.jpg")], ["a.jpg", "d.jpg"]) == (
        counts(added=1, changed=1, missing=2)
    )
    found = find_project(database, "mussels")
    assert (found.image_count, found.missing_count) == (2, 2)
    assert register(database, project, [], ["a.jpg", "b/b.jpg", "d.jpg"]) == (counts(returned=1))
    assert known_files(database, project.id) == {
        "a.jpg": KnownFile(len("other bytes"), 2, False, digest("other bytes")),
        "b/b.jpg": KnownFile(len("b/b.jpg"), 1, False, digest("b/b.jpg")),
        "c.jpg": KnownFile(len("c.jpg"), 1, True, digest("c.jpg")),
        "d.jpg": KnownFile(len("d.jpg"), 1, False, digest("d.jpg")),
    }


def test_the_same_content_has_one_row_in_one_project_and_in_two(
    database: Database, project: ProjectRecord
) -> None:
    register(database, project, [file("a.jpg", "same"), file("copy.jpg", "same")])
    other = add_project(database, "other", Path("/data/other"))
    register(database, other, [file("again.jpg", "same"), file("own.jpg", "own")])
    assert shared_count(database) == 2
    with database.transaction() as connection:
        uses = connection.execute(
            text(
                "SELECT count(*), min(s.file_path) FROM project_images i "
                "JOIN shared_images s ON s.id = i.shared_image_id "
                "GROUP BY s.id ORDER BY 1"
            )
        ).all()
    assert [tuple(row) for row in uses] == [(1, "/data/other/own.jpg"), (3, "/data/mussels/a.jpg")]


def test_projects_registered_at_the_same_time_share_their_contents(database: Database) -> None:
    projects = [add_project(database, f"p{n}", Path(f"/p{n}")) for n in range(6)]
    names = [f"{number}.jpg" for number in range(300)]

    def run(place: int) -> RegistrationCounts:
        # Every project names them in another order.
        rotated = names[place * 50 :] + names[: place * 50]
        return register(database, projects[place], [file(name) for name in rotated])

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(run, range(6))) == [counts(added=300)] * 6
    assert shared_count(database) == 300


def test_odd_names_survive(database: Database, project: ProjectRecord) -> None:
    register(database, project, [file(name) for name in ODD_NAMES])
    assert set(known_files(database, project.id)) == set(ODD_NAMES)
    assert register(database, project, [], ODD_NAMES) == counts()
    with database.transaction() as connection:
        stored = connection.execute(
            text(
                "SELECT relative_path, filename, file_path FROM project_images "
                "JOIN shared_images s ON s.id = shared_image_id"
            )
        ).all()
    for relative_path, filename, file_path in stored:
        assert filename == Path(relative_path).name
        assert file_path == f"/data/mussels/{relative_path}"


def test_times_keep_their_nanoseconds_and_sizes_their_bytes(
    database: Database, project: ProjectRecord
) -> None:
    moment = 1_700_000_000_123_456_789
    large = RegisteredFile("a.tif", 5 << 32, moment, "0" * 64, None, None, None)
    register(database, project, [large])
    assert known_files(database, project.id) == {
        "a.tif": KnownFile(5 << 32, moment, False, "0" * 64)
    }


def test_a_registration_that_fails_changes_nothing(
    database: Database, project: ProjectRecord
) -> None:
    register(database, project, [file("a.jpg")])

    def broken() -> list[RegisteredFile]:
        yield file("b.jpg")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        register_files(database, project, broken(), [])
    assert known_files(database, project.id) == {"a.jpg": KnownFile(5, 1, False, digest("a.jpg"))}
    assert shared_count(database) == 1


def test_missing_files_of_a_large_project_are_found_by_a_join(
    database: Database, project: ProjectRecord
) -> None:
    """With a subquery in place of the join, or row by row, this many paths would take hours."""
    names = [f"{'folder' * 8}/{number:08}.jpg" for number in range(120_000)]
    one = file("x").sha256
    files = [RegisteredFile(name, 1, 1, one, None, None, None) for name in names]
    register(database, project, files[:3], names[:3])
    with database.transaction() as connection:
        connection.execute(text("ANALYZE"))  # all that the planner knows is from before the others
    register(database, project, files, names)
    assert register(database, project, [], names[::2]).missing == 60_000
