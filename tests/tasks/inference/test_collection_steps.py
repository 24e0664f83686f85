"""Gathering collections from folders and projects, again and again."""

import shutil

import pytest
from sqlalchemy import text

from storage.database.tables.removals import RemovalNoun
from storage.errors import InvalidInputError, NotFoundError
from storage.inference.collections import list_collections
from storage.removal.removing import plan_removal, remove
from tasks.inference import collection_steps
from tasks.inference.collection_sources import FolderSource, QuerySource
from tasks.inference.collection_steps import gather_collection, refresh_collection
from tasks.projects.registration_steps import register_project
from tests.tasks.inference.conftest import PICTURES


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "bay"
    (made / "east").mkdir(parents=True)
    for path in PICTURES[:3]:
        shutil.copy(path, made)
    for path in PICTURES[3:5]:
        shutil.copy(path, made / "east")
    return made


@pytest.fixture
def names(database):
    def read(collection="bay"):
        with database.transaction() as connection:
            rows = connection.execute(
                text(
                    "SELECT i.name, i.position FROM collection_images i JOIN collections c "
                    "ON c.id = i.collection_id WHERE c.name = :name ORDER BY i.position"
                ),
                {"name": collection},
            ).all()
        assert [row[1] for row in rows] == list(range(len(rows))), "positions have no gaps"
        return [row[0] for row in rows]

    return read


def test_a_folder_is_gathered_in_the_order_of_its_paths_and_only_new_files_are_read_again(
    database, folder, names, monkeypatch
):
    gathered = gather_collection(database, "bay", FolderSource(str(folder)), workers=2)
    assert (gathered.added, gathered.removed, gathered.collection.image_count) == (5, 0, 5)
    assert names() == ["0000.jpg", "0001.jpg", "0002.jpg", "east/0003.jpg", "east/0004.jpg"]

    (folder / "0001.jpg").unlink()
    shutil.copy(PICTURES[0], folder / "copy.jpg")  # an equal content counts once
    shutil.copy(PICTURES[6], folder / "east")
    (folder / "notes.txt").write_text("no image")
    read = []
    original = collection_steps.read_files

    def counted(root, to_read, workers):
        read.extend(file.relative_path for file in to_read)
        return original(root, to_read, workers)

    monkeypatch.setattr(collection_steps, "read_files", counted)
    gathered = refresh_collection(database, "bay", workers=2)
    assert sorted(read) == ["copy.jpg", "east/0006.jpg"]
    assert (gathered.added, gathered.removed) == (1, 1)
    assert names() == [*("0000.jpg", "0002.jpg", "east/0003.jpg", "east/0004.jpg", "east/0006.jpg")]
    (folder / "0000.jpg").unlink()
    refresh_collection(database, "bay", workers=2)
    assert "copy.jpg" in names(), "its other place"


def test_a_query_over_projects_chooses_by_path_and_quality(database, folder, names):
    project = register_project(database, "sea", folder, workers=2).project
    other = register_project(database, "other", folder / "east", workers=2).project

    def gather(name, *values, **options):
        source = QuerySource(*values, **options)
        return gather_collection(database, name, source, workers=1)

    gather("bay", (str(project.id),))
    assert names() == ["0000.jpg", "0001.jpg", "0002.jpg", "east/0003.jpg", "east/0004.jpg"]
    gather("east", (str(project.id),), "east/*")
    assert names("east") == ["east/0003.jpg", "east/0004.jpg"]
    gather("both", (str(project.id), str(other.id)))
    assert names("both") == [
        *("other/0003.jpg", "other/0004.jpg", "sea/0000.jpg", "sea/0001.jpg", "sea/0002.jpg")
    ]
    gather("all")
    assert len(names("all")) == 5
    gather("labeled", labeled=True)
    assert names("labeled") == []
    with database.transaction() as connection:
        connection.execute(
            text(
                "INSERT INTO project_image_quality (project_image_id, uniqueness, "
                "overall_quality, issues, sharpness_reference) SELECT id, 1, "
                "CASE filename WHEN '0000.jpg' THEN 0.9 ELSE 0.4 END, "
                "CASE filename WHEN '0001.jpg' THEN '{}'::text[] ELSE '{blur}' END, 500 "
                "FROM project_images WHERE project_id = :id AND filename < '0003'"
            ),
            {"id": project.id},
        )
    gather("good", min_quality=0.5)
    assert names("good") == ["sea/0000.jpg"]
    gather("sharp", (str(project.id),), without_issues=("blur",))
    assert names("sharp") == ["0001.jpg"], "not measured is not without issues"

    (folder / "0002.jpg").unlink()
    register_project(database, "sea", folder, workers=2, accept_losses=True)
    assert refresh_collection(database, "bay", workers=1).removed == 1
    assert "0002.jpg" not in names()


def test_a_name_stands_for_one_source_until_it_is_replaced(database, folder, names):
    gather_collection(database, "bay", FolderSource(str(folder)), workers=1)
    east = FolderSource(str(folder / "east"))
    with pytest.raises(InvalidInputError, match="collection 'bay' already"):
        gather_collection(database, "bay", east, workers=1)
    assert len(names()) == 5
    gather_collection(database, "bay", east, workers=1, replace=True)
    assert names() == ["0003.jpg", "0004.jpg"]
    remove(database, plan_removal(database, RemovalNoun.COLLECTION, "bay"))
    assert list_collections(database) == []
    with pytest.raises(NotFoundError, match="collections add"):
        refresh_collection(database, "bay", workers=1)


@pytest.mark.parametrize("name", ["", " bay", "a\nb", "6f6b0b0e-5c3e-4b8e-9a0e-0a1b2c3d4e5f"])
def test_names_that_cannot_be_used_are_refused(database, folder, name):
    with pytest.raises(InvalidInputError, match="is not a name"):
        gather_collection(database, name, FolderSource(str(folder)), workers=1)


def test_what_is_no_folder_is_refused_and_leaves_nothing(database, tmp_path):
    with pytest.raises(InvalidInputError, match="is not a folder"):
        gather_collection(database, "bay", FolderSource(str(tmp_path / "none")), workers=1)
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        gather_collection(database, "bay", QuerySource(min_quality=2), workers=1)
    assert list_collections(database) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (QuerySource(split="tset"), "The split 'tset' is none of: train, val, test"),
        (QuerySource(without_issues=("blur", "dupilcate")), "The issue 'dupilcate' is none of: "),
    ],
)
def test_a_misspelled_split_or_issue_is_refused(database, source, words):
    with pytest.raises(InvalidInputError, match=words):
        gather_collection(database, "bay", source, workers=1)
    assert list_collections(database) == []
