"""create-release: from a registered project to an archive whose statistics agree in every way."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import text

from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import DiskFullError, InvalidInputError
from storage.jobs.records import cancel_job, list_jobs
from storage.releases import find_release, list_releases, load_release_details, register_release
from storage.settings import get_settings
from tasks.projects.registration_steps import register_project
from tasks.releases.metadata import read_release_metadata
from tasks.releases.scan import scan_release
from tasks.releases.verification import compare_statistics
from tests.flows.labeled_projects import make_river, make_sea, make_yolo, write_picture
from tests.flows.releases.release_runs import count_members, read_row, thread_of_flow
from tests.places import DATA
from tests.storage.processes import kill, start_python, wait_until


@pytest.fixture
def empire(database, tmp_path):
    """A real project: 73 images with labels, in three splits."""
    folder = tmp_path / "empire"
    shutil.copytree(DATA / "roboflow-empire", folder)
    return register_project(database, "empire", folder, workers=2).project


@pytest.fixture
def create(prefect_client, database):
    from flows.create_release import create_release

    def run(name, project="empire", **parameters):
        return create_release(project=project, name=name, return_state=True, **parameters)

    return run


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_created_scanned_and_told_agree(create, database, empire):
    state = create("spring 2026")
    assert state.is_completed(), state.message
    result = state.result()
    path = get_settings().home / "releases" / "spring-2026.zip"
    assert result["archive"] == str(path)
    images, objects = count_members(path)
    assert images == result["split_counts"] == {"train": 63, "val": 6, "test": 4}
    assert sum(objects.values()) == result["class_counts"]["Empire-State-building"] == 73

    told, counted = read_release_metadata(path), scan_release(path)
    assert told is not None
    assert compare_statistics(told, counted) == []
    assert told.class_names == counted.class_names

    release = find_release(database, "spring 2026")
    assert (release.project, release.stats_source) == ("empire", "scan")
    details = load_release_details(database, release.id)
    assert release.split_counts(details) == {**images, "unsplit": 0}
    assert "metadata_differs" not in {problem["code"] for problem in details.problems}
    created, built = list_jobs(database)[::-1]
    assert (created.kind, created.total, created.processed) == (JobKind.CREATE_RELEASE, 73, 73)
    assert (built.kind, built.status) == (JobKind.RELEASE_STATS, JobStatus.COMPLETED)


def test_created_again_it_has_the_same_bytes_and_is_the_same_release(
    create, database, empire, tmp_path
):
    first = create("r").result()
    before = digest(Path(first["archive"]))
    again = create("r").result()
    assert again["release_id"] == first["release_id"]
    assert again["statistics"] == "unchanged"
    assert digest(Path(again["archive"])) == before
    other = create("r2", output=str(tmp_path / "elsewhere" / "x.zip")).result()
    assert Path(other["archive"]) == tmp_path / "elsewhere" / "x.zip"
    assert create("divided", unsplit="train").is_completed()


def test_what_belongs_to_others_is_not_written_over(create, database, empire, tmp_path):
    taken, stranger = tmp_path / "taken.zip", tmp_path / "stranger.zip"
    taken.write_bytes(b"a ZIP of somebody else")
    stranger.write_bytes(b"registered, and not made here")
    register_release(database, stranger, name="stranger")
    for name, parameters, reason in (
        ("new", {"output": str(taken)}, "There is a file"),
        ("stranger", {"output": str(stranger)}, "was not made here"),
        ("stranger", {}, "choose another name"),
        ("new", {"output": str(stranger)}, "is the archive of release 'stranger'"),
        ("new", {"output": str(tmp_path / "new.tar")}, "does not end in .zip"),
        ("two\nlines", {}, "not a name"),
        ("", {}, "not a name"),
        (str(empire.id), {}, "not a name"),
        ("../x", {}, "has a slash"),
        ("none", {"train": 0.0, "val": 0.0}, "add up to 0, not to 1"),
        ("none", {"train": 0.9, "val": 0.9}, "add up to 1.8, not to 1"),
        ("none", {"task": "pose"}, "no label has keypoints"),
    ):
        with pytest.raises(InvalidInputError, match=reason):
            create(name, **parameters).result()
    assert taken.read_bytes() == b"a ZIP of somebody else"
    assert [release.name for release in list_releases(database)] == ["stranger"]
    assert not (get_settings().home / "releases" / "none.zip").exists()


def test_a_run_of_a_deployment_writes_under_the_home_folder_alone(
    create, database, empire, tmp_path, monkeypatch
):
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "of a test")
    state = create("r", output=str(tmp_path / "r.zip"))
    with pytest.raises(InvalidInputError, match="VISIONFLOWS_DATA_ROOTS"):
        state.result()
    assert not (tmp_path / "r.zip").exists()
    assert create("r").is_completed()


def test_data_roots_bound_what_is_named_and_not_the_default(
    create, database, empire, tmp_path, monkeypatch
):
    monkeypatch.setenv("VISIONFLOWS_DATA_ROOTS", str(tmp_path / "images"))
    get_settings.cache_clear()
    with pytest.raises(InvalidInputError, match="VISIONFLOWS_DATA_ROOTS"):
        create("r", output=str(tmp_path / "r.zip")).result()
    archive = Path(create("r").result()["archive"])
    assert archive == get_settings().home / "releases" / "r.zip" and archive.is_file()


def test_a_changed_image_fails_it_and_the_earlier_archive_stays(create, database, empire):
    path = Path(create("r").result()["archive"])
    before, row = digest(path), read_row(database, "r")
    image = min(empire.path.rglob("*.jpg"))
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    state = create("r")
    with pytest.raises(InvalidInputError, match="has changed since it was registered"):
        state.result()
    assert digest(path) == before and read_row(database, "r") == row
    assert [file.name for file in path.parent.iterdir()] == ["r.zip"]
    assert list_jobs(database)[0].status is JobStatus.FAILED


def test_a_disk_without_room_is_told_before_anything_is_written(create, database, empire):
    path = Path(create("r").result()["archive"])
    before, row = digest(path), read_row(database, "r")
    with database.transaction() as connection:
        connection.execute(text("UPDATE project_images SET file_size = 1::bigint << 56"))
    state = create("r")
    with pytest.raises(DiskFullError) as raised:
        state.result()
    needed = 73 << 56
    assert f"would be written to {path.parent}, where " in str(raised.value)
    assert int(str(raised.value).split(" bytes")[0].replace(",", "")) - needed in range(1, 1 << 20)
    assert digest(path) == before and read_row(database, "r") == row
    assert [file.name for file in path.parent.iterdir()] == ["r.zip"]


def make_nasty(folder):
    """Names, labels and files of every kind that a release must not hold as they are."""
    shutil.copytree(DATA / "roboflow-empire" / "test", folder / "test")
    rows = (
        "0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5\n",
        "1 0.05 0.5 0.1001 0.5\n2 0.5 0.5 1.000001 1\n",
        "2 0.5 0.5 0.25 0\n0 0.5 0.5 0.25 0.25\n",
        "0 0.1 0.1 0.6 0.1 0.6 0.4 0.1 0.4\n1 0.9 0.9 1.5 0.9 1.2 1.3\n",
        "0 2 2 0.1 0.1\n",
        "7 0.5 0.5 0.1 0.1\n0 0.5\n0 0.25 0.5 0.25 0.5\n",
        "",
    )
    for number, label in enumerate(rows):
        write_picture(folder / "images" / f"{number}: a?.png", 300 + number)
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{number}: a?.txt").write_text(label)
    for name in ("CON.png", "north/0.png", "south/0.PNG"):
        write_picture(folder / "images" / name, sum(name.encode()))
        label = (folder / "labels" / name).with_suffix(".txt")
        label.parent.mkdir(exist_ok=True)
        label.write_text("0 0.5 0.5 0.25 0.25\n")
    jfif = folder / "images" / "called.jfif"
    shutil.copy(next((folder / "test" / "images").iterdir()), jfif)
    jfif.write_bytes(jfif.read_bytes() + b"\0")
    (folder / "labels" / "called.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (folder / "data.yaml").write_text("names: [Crab, 'no: #1', '']\n")
    return folder


def make_poses(folder):
    rows = [f"0 0.5 0.5 0.5 0.5 {x} 0.5 2 1.5 0.5 2" for x in (0.3, 0.4, 0.5)]
    return make_yolo(folder, [*rows, "0 0.5 0.5 0.25 0.25"], "names: [p]\nkpt_shape: [2, 3]\n")


def make_oriented(folder):
    rows = ["0 0.5 0.2 0.7 0.5 0.5 0.8 0.3 0.5", "0 0.1 0.1 0.6 0.1 0.6 0.3 -0.1 0.3"]
    return make_yolo(folder, rows, "names: [boat]\ntask: obb\n")


@pytest.mark.parametrize("task", ["detect", "segment", "obb", "pose"])
def test_whatever_a_project_is_like_its_release_has_no_problem(create, database, tmp_path, task):
    makers = (make_nasty, make_sea, make_river, make_oriented, make_poses)
    for make in makers if task != "pose" else [make_poses]:
        register_project(database, make.__name__, make(tmp_path / make.__name__), workers=2)
        result = create(make.__name__, project=make.__name__, task=task).result()
        row = read_row(database, make.__name__)
        assert row["problems_json"] == [], make.__name__
        assert row["stats_source"] == "scan"
        assert sum(result["split_counts"].values()) > 0
        for shapes in row["shapes_json"]["classes"]:
            assert shapes["trainable_instances"] == shapes["instances"], make.__name__


def test_a_release_and_a_training_set_of_one_project_have_the_same_labels(
    create, database, tmp_path
):
    from flows.prepare_training_set import prepare_training_set

    register_project(database, "nasty", make_nasty(tmp_path / "nasty"), workers=2)
    for task in ("detect", "segment", "obb"):
        archive = create(task, project="nasty", task=task).result()["archive"]
        made = prepare_training_set(
            projects=["nasty"], task=task, keep_splits=True, return_state=True
        ).result()
        folder = Path(made["output"])
        with zipfile.ZipFile(archive) as release:
            names = {name for name in release.namelist() if not name.startswith("metadata/")}
            files = {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file() and path.name not in ("manifest.parquet", "classes.txt")
            }
            assert {name: release.read(name) for name in names} == files


CREATE = """
    from flows.create_release import create_release
    state = create_release(project="empire", name="r", return_state=True)
    print(state.message, flush=True)
"""


@pytest.fixture
def paused_writing(database):
    """Nobody can register a release: an archive is written, and not yet renamed."""

    class Paused:
        def __enter__(self):
            self.connection = database.engine.connect()
            self.connection.execute(text("LOCK TABLE releases IN EXCLUSIVE MODE"))

        def __exit__(self, *_):
            self.connection.rollback()
            self.connection.close()

    return Paused()


def is_written(folder):
    return any(file.stat().st_size > 1_700_000 for file in folder.glob(".*.tmp"))


def test_killed_while_writing_there_is_no_archive_and_the_next_start_makes_it(
    create, database, empire, paused_writing
):
    folder = get_settings().home / "releases"
    with paused_writing:
        process = start_python(CREATE)
        wait_until(lambda: is_written(folder), "the archive is written")
        kill(process)
    wait_until(lambda: list_jobs(database)[0].is_interrupted, "the lock of the dead is free")
    assert list_releases(database) == [] and not (folder / "r.zip").exists()
    assert create("r").is_completed()
    killed = digest(folder / "r.zip")
    assert create("undisturbed").is_completed()
    # The name of the release stands in its configuration, so the archives differ in that alone.
    images, objects = count_members(folder / "r.zip")
    assert (images, objects) == count_members(folder / "undisturbed.zip")
    shutil.rmtree(folder)
    assert create("r").is_completed()
    assert digest(folder / "r.zip") == killed


def test_a_second_start_reports_the_one_at_work_and_cancelling_leaves_nothing(
    create, database, empire, paused_writing
):
    folder = get_settings().home / "releases"
    states = []
    first = thread_of_flow(lambda: states.append(create("r")))
    with paused_writing:
        first.start()
        wait_until(lambda: is_written(folder), "the archive is written")
        second = create("r").result()
        assert second["already_running"] and second["job_id"] == str(list_jobs(database)[0].id)
        cancel_job(database, list_jobs(database)[0].id)
    first.join(60)
    # What came first counts: an archive that was written whole may stay.
    assert list_jobs(database)[0].status is JobStatus.CANCELLED
    assert states[0].is_cancelled()
    assert not list(folder.glob(".*.tmp"))


def test_near_duplicates_in_two_splits_are_told_when_images_were_measured(create, database, empire):
    from flows.quality_metrics import quality_metrics

    assert quality_metrics(project="empire", return_state=True).is_completed()
    # The project's own splits separate no twins here: put one image of a group elsewhere.
    with database.transaction() as connection:
        moved = connection.execute(
            text(
                "UPDATE project_images SET split = 'test' WHERE id = (SELECT project_image_id "
                "FROM project_image_quality WHERE nearest_distance BETWEEN 1 AND 6 "
                "ORDER BY project_image_id LIMIT 1) RETURNING filename"
            )
        ).scalar_one()
    create("r")
    problems = [
        problem
        for problem in read_row(database, "r")["problems_json"]
        if problem["code"] == "split_leak_near"
    ]
    assert any(moved in problem["member"] + problem["detail"] for problem in problems)
