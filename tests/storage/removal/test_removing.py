"""Everything that can be removed: counted by hand, killed at each step, refused while at work."""

from __future__ import annotations

import itertools
from uuid import UUID, uuid4

import pytest

from storage.database.tables.jobs import JobKind
from storage.database.tables.removals import RemovalNoun
from storage.errors import JobAtWorkError, NotFoundError
from storage.jobs.held import start_job
from storage.projects.projects import add_project
from storage.removal.finding import list_training_sets
from storage.removal.removing import finish_removals, plan_removal, removal_steps, remove
from tests.storage.processes import wait_until

LOCKS = (
    "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
    "WHERE locktype = 'advisory' AND datname = current_database()"
)
RUN_ROWS = {"job_chunks": 3, "jobs": 3, "image_results": 3, "runs": 1}


def count_locks(database):
    """How many locks of jobs and removals are held."""
    return database.rows(LOCKS)[0][0]


def test_a_run_goes_with_its_comparisons_and_the_other_stays(things, two_runs, database):
    first, second = two_runs()
    before = things.files()
    plan = plan_removal(database, RemovalNoun.RUN, str(first)[:13])
    assert plan.name == f"bay: mussels at 0.5 ({str(first)[:8]})"
    assert plan.rows == RUN_ROWS
    # Polygons, its snapshot and page, and two comparisons with one each.
    assert (plan.file_count, plan.byte_count) == (9, 3 * 10 + 3 * 100 + 3 * 1000)
    assert things.files() == before, "a plan changes nothing"
    remove(database, plan)
    assert all(str(second) in place or "exports" in place for place in things.files())
    assert len(things.files()) == 3 + 2 + 1
    assert [things.count(table) for table in ("runs", "image_results", "jobs")] == [1, 3, 1]
    assert things.count("image_detections") == 3, "what the model has found stays with it"
    with pytest.raises(NotFoundError):
        plan_removal(database, RemovalNoun.RUN, str(first))


@pytest.mark.parametrize(
    ("noun", "key", "more"),
    [
        (RemovalNoun.COLLECTION, "bay", {"collection_images": 3, "collections": 1}),
        (RemovalNoun.MODEL, "mussels", {"image_detections": 3, "models": 1}),
    ],
)
def test_collections_and_models_go_with_their_runs(things, two_runs, database, noun, key, more):
    two_runs()
    other = things.collection("other", [things.image("other")])
    plan = plan_removal(database, noun, key)
    rows = {"job_chunks": 4, "jobs": 4, "image_results": 6, "runs": 2}
    assert plan.rows == rows | more
    assert len(plan.runs) == 2
    exports = int(noun is RemovalNoun.MODEL)
    assert plan.file_count == 2 * (3 + 2) + 2 * 2 + exports
    remove(database, plan)
    assert len(things.files()) == 1 - exports
    assert things.count("runs") == things.count("image_results") == things.count("jobs") == 0
    assert (str(other),) in [(str(row[0]),) for row in things.sql("SELECT id FROM collections")]
    assert things.count("shared_images") == 4


def test_releases_keep_an_archive_that_was_handed_in(things, database, tmp_path):
    project = add_project(database, "sea", tmp_path / "sea").id
    made, handed = things.file("releases/made.zip", 7), tmp_path / "handed.zip"
    handed.write_bytes(b"zip")
    ids = {}
    for name, path, owner in (("made", made, project), ("handed", handed, None)):
        ids[name] = uuid4()
        things.sql(
            "INSERT INTO releases (id, name, model_path, project_id, stats_status) "
            "VALUES (:id, :name, :path, :owner, 'pending')",
            id=ids[name],
            name=name,
            path=str(path),
            owner=owner,
        )
        things.job("build-release-stats", str(ids[name]))
        things.file(f"snapshots/release_classes/release={ids[name]}/1.parquet")
        things.file(f"reports/build-release-stats/{ids[name]}.html")
    things.job("create-release", "made", {"release_id": str(ids["made"]), "archive": str(made)})
    # An archive that was made here is known as ours also when its project is gone.
    remove(database, plan_removal(database, RemovalNoun.PROJECT, "sea"))
    plan = plan_removal(database, RemovalNoun.RELEASE, "made")
    assert plan.rows == {"job_chunks": 2, "jobs": 2, "releases": 1}
    assert (plan.file_count, plan.byte_count) == (3, 27)
    remove(database, plan)
    assert not made.exists()
    plan = plan_removal(database, RemovalNoun.RELEASE, "handed")
    assert plan.file_count == 2 and str(handed) in plan.stays[0]
    remove(database, plan)
    assert handed.read_bytes() == b"zip" and things.files() == set()
    assert things.count("releases") == things.count("jobs") == 0


def _project(things, name: str, folder, images: int = 2) -> UUID:
    project = add_project(things.database, name, folder).id
    for number in range(images):
        image_id = uuid4()
        things.sql(
            "INSERT INTO project_images (id, project_id, shared_image_id, relative_path, filename, "
            "file_size, modified_at_ns, state) "
            "VALUES (:id, :project, :shared, :name, :name, 1, 1, 'present')",
            id=image_id,
            project=project,
            shared=things.image(f"{name}{number}"),
            name=f"{number}.jpg",
        )
        things.sql(
            "INSERT INTO project_image_quality (project_image_id, uniqueness, overall_quality, "
            "issues, sharpness_reference) VALUES (:id, 1, 1, '{}', 500)",
            id=image_id,
        )
    things.job("quality-metrics", str(project))
    things.file(f"snapshots/image_quality/project={project}/1.parquet")
    things.file(f"reports/quality-metrics/{project}.html")
    return project


PROJECT_ROWS = {
    "job_chunks": 1,
    "jobs": 1,
    "project_image_quality": 2,
    "project_images": 2,
    "projects": 1,
}


def test_a_linked_folder_is_never_touched(things, database, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "0.jpg").write_bytes(b"mine")
    _project(things, "sea", folder)
    plan = plan_removal(database, RemovalNoun.PROJECT, "sea")
    assert plan.rows == PROJECT_ROWS and plan.file_count == 2
    assert plan.stays[0] == f"the linked folder {folder}: nothing in it is touched"
    remove(database, plan)
    assert [path.name for path in folder.iterdir()] == ["0.jpg"] and things.files() == set()
    assert [things.count(table) for table in PROJECT_ROWS] == [0] * 5
    assert things.count("shared_images") == 2, "the maintenance flow forgets them"


def test_a_copied_project_goes_with_its_folder(things, database):
    project = _project(things, "sea", things.home / "to come")
    own = things.home / "projects" / str(project)
    things.sql("UPDATE projects SET path = :path", path=str(own / "raw_data"))
    for name in ("raw_data/0.jpg", "raw_data/1.jpg", "meta.json"):
        things.file(f"projects/{project}/{name}")
    things.file(f"projects/.staging/{project}/2.jpg")
    things.collection("bay", [things.image("in it")], folder=str(own / "raw_data"))
    plan = plan_removal(database, RemovalNoun.PROJECT, "sea")
    assert plan.rows == PROJECT_ROWS and plan.file_count == 4 + 2
    assert plan.warnings == [
        "1 images of the collection bay lie in its folder and go",
        "2 images that somebody has put or edited there go, too",
    ]
    remove(database, plan)
    assert things.files() == set() and things.count("collection_images") == 1


def test_a_folder_put_among_the_projects_stays(things, database):
    folder = things.home / "projects" / "mine"
    things.file("projects/mine/0.jpg")
    _project(things, "mine", folder)
    plan = plan_removal(database, RemovalNoun.PROJECT, "mine")
    assert "put among the projects" in plan.stays[0] and "move it away" in plan.warnings[0]
    remove(database, plan)
    assert things.files() == {"projects/mine/0.jpg"}


def test_a_session_goes_and_its_folder_stays(things, database):
    for name in ("one", "two"):
        things.sql("INSERT INTO session_metadata (session_id) VALUES (:id)", id=name)
        things.sql(
            "INSERT INTO session_folders (id, session_id, sessions_root, "
            "relative_path, state) VALUES (gen_random_uuid(), :id, '/sessions', :id, 'present')",
            id=name,
        )
    things.job("compute-session-stats", "/sessions")
    plan = plan_removal(database, RemovalNoun.SESSION, "one")
    assert plan.rows == {"session_folders": 1, "session_metadata": 1}
    assert "/sessions/one" in plan.stays[0]
    remove(database, plan)
    assert things.sql("SELECT session_id FROM session_metadata") == [("two",)]
    # With the last one of a folder goes what was kept about the folder.
    last = plan_removal(database, RemovalNoun.SESSION, "two")
    assert last.rows == {"job_chunks": 1, "jobs": 1, "session_folders": 1, "session_metadata": 1}


def test_a_training_set_goes_and_one_of_the_same_content_keeps_its_snapshot(things, database):
    key = uuid4().hex * 2
    folders = [things.file(f"training_sets/{name}/manifest.parquet").parent for name in "ab"]
    for folder in folders:
        things.file(f"training_sets/{folder.name}/images/train/0.jpg")
        things.job("prepare-training-set", str(folder), {"key": key}, {"projects": ["sea"]})
    things.file(f"snapshots/training_set_images/training_set={UUID(key[:32])}/1.parquet")
    assert [one.path for one in list_training_sets(database)] == folders
    plan = plan_removal(database, RemovalNoun.TRAINING_SET, "a")
    assert plan.rows == {"job_chunks": 1, "jobs": 1} and plan.file_count == 2
    assert plan.warnings == []
    things.file("training_sets/a/best.pt")
    plan = plan_removal(database, RemovalNoun.TRAINING_SET, "a")
    assert plan.warnings == ["somebody has put into its folder, and goes too: best.pt"]
    remove(database, plan)
    assert [one.path for one in list_training_sets(database)] == folders[1:]
    assert plan_removal(database, RemovalNoun.TRAINING_SET, str(folders[1])).file_count == 3


@pytest.mark.parametrize("ended_by", ["the next call", "maintenance"])
@pytest.mark.parametrize("noun", [RemovalNoun.RUN, RemovalNoun.TRAINING_SET, RemovalNoun.PROJECT])
def test_a_kill_at_any_step_leaves_what_the_next_one_ends(
    things, two_runs, database, noun, ended_by
):
    def make() -> str:
        if noun is RemovalNoun.RUN:
            return str(two_runs()[0])
        if noun is RemovalNoun.TRAINING_SET:
            folder = things.file("training_sets/a/manifest.parquet").parent
            things.job("prepare-training-set", str(folder), {"key": "0" * 64})
            return str(folder)
        project = _project(things, "sea", things.home / "to come")
        path = things.file(f"projects/{project}/raw_data/0.jpg").parent
        things.sql("UPDATE projects SET path = :path", path=str(path))
        return str(project)

    tables = ("runs", "image_results", "projects", "project_images", "jobs", "removals")
    for killed_after in itertools.count(1):
        for table in ("removals", "jobs", "runs", "collections", "models", "projects"):
            things.sql(f"DELETE FROM {table}")
        subject = make()
        before = (1, 3, 0, 0, 1, 0) if noun is RemovalNoun.RUN else (0,) * 6
        steps = removal_steps(database, noun, subject)
        done = list(itertools.islice(steps, killed_after))
        steps.close()  # and with it the connection that holds the locks, a moment later
        wait_until(lambda: count_locks(database) == 0, "nobody holds one")
        if ended_by == "maintenance":
            finish_removals(database)
        elif done[-1] != "forgotten":
            plan = plan_removal(database, noun, subject)
            assert plan.is_unfinished
            remove(database, plan)
        assert tuple(things.count(table) for table in tables) == before
        left = {place for place in things.files() if "exports" not in place}
        assert not any(subject in place or "removing" in place for place in left)
        assert len(left) == (5 if noun is RemovalNoun.RUN else 0)
        for place in left:
            (things.home / place).unlink()
        with pytest.raises(NotFoundError):
            plan_removal(database, noun, subject)
        if done[-1] == "forgotten" and len(done) < killed_after:
            break
    assert killed_after > 5


@pytest.mark.parametrize("noun", [RemovalNoun.RUN, RemovalNoun.COLLECTION, RemovalNoun.MODEL])
def test_while_a_job_is_at_work_nothing_is_removed(things, two_runs, database, noun):
    first, _ = two_runs()
    key = {"run": str(first), "collection": "bay", "model": "mussels"}[noun.value]
    plan, before = plan_removal(database, noun, key), things.files()
    with start_job(database, JobKind.COLLECTION_INFERENCE, str(first)) as job:
        with pytest.raises(
            JobAtWorkError, match=rf"{job.id}.*visionflows cancel {str(job.id)[:8]}"
        ):
            remove(database, plan)
        assert things.files() == before and things.count("removals") == 0
    with (
        start_job(database, JobKind.COMPARE_RUNS, str(uuid4()), parameters={"second": str(first)}),
        pytest.raises(JobAtWorkError, match="compare-runs"),
    ):
        remove(database, plan)
    remove(database, plan)
    assert things.count("removals") == 0


def test_jobs_that_read_a_project_keep_it(things, database, tmp_path):
    project = _project(things, "sea", tmp_path)
    plan = plan_removal(database, RemovalNoun.PROJECT, "sea")
    for kind, subject, parameters in (
        (JobKind.TRAINING_SET, "/sets/a", {"projects": ["sea", "river"]}),
        (JobKind.CREATE_RELEASE, "may", {"project": str(project)}),
        (JobKind.QUALITY_METRICS, str(project), {}),
    ):
        with (
            start_job(database, kind, subject, parameters=parameters),
            pytest.raises(JobAtWorkError, match=kind.value),
        ):
            remove(database, plan)
        wait_until(lambda: count_locks(database) == 0, "the job is not ending any more")
    # One whose process has died keeps nothing.
    things.job("ingest-project", str(project))
    things.sql("UPDATE jobs SET status = 'processing' WHERE kind = 'ingest-project'")
    remove(database, plan)
    assert things.count("projects") == 0


def test_a_thing_that_is_being_removed_is_not_removed_twice_at_once(things, two_runs, database):
    first, _ = two_runs()
    steps = removal_steps(database, RemovalNoun.RUN, str(first))
    next(steps)
    with pytest.raises(JobAtWorkError, match="another removal of it is at work"):
        remove(database, plan_removal(database, RemovalNoun.RUN, str(first)))
    assert finish_removals(database) == []
    assert list(steps)[-1] == "forgotten"
