"""build-release-stats: real archives, a real server, a real database."""

from __future__ import annotations

import json
import os
import shutil
import zipfile

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from storage.database.tables.jobs import JobKind, JobStatus
from storage.database.tables.releases import ReleaseStatsStatus
from storage.errors import InvalidInputError
from storage.jobs.records import cancel_job, list_jobs
from storage.releases import find_release, list_releases, load_release_details, register_release
from storage.settings import get_settings
from storage.snapshots import SnapshotSubject, list_snapshots, snapshot_metadata
from tests.flows.artifacts import artifacts_of
from tests.flows.releases.release_runs import count_members, long_archive, read_row, thread_of_flow
from tests.places import DATA
from tests.storage.processes import kill, start_python, wait_until
from tests.tasks.releases.archives import sound_dataset, write_zip

METADATA = {
    "split_counts": {"train": 2, "val": 1, "test": 1},
    "class_distribution": {"cat": 2, "dog": 3},
}


@pytest.fixture
def build(prefect_client, database):
    from flows.build_release_stats import build_release_stats

    def run(release="", **parameters):
        return build_release_stats(release=release, return_state=True, **parameters)

    return run


@pytest.fixture
def sound(tmp_path):
    return write_zip(tmp_path / "sound.zip", sound_dataset())


def outcomes(state):
    result = state.result(raise_on_failure=False)
    return {entry["name"]: entry["outcome"] for entry in result["releases"]}


def with_metadata(path, told):
    files = sound_dataset()
    files["metadata/dataset_stats.json"] = json.dumps(told).encode()
    return write_zip(path, files)


def test_a_real_export_has_the_counts_of_plain_reading(build, database, tmp_path):
    path = tmp_path / "empire.zip"
    folder = DATA / "roboflow-empire"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    images, objects = count_members(path)
    assert build(archive=str(path)).is_completed()
    release = find_release(database, "empire")
    details = load_release_details(database, release.id)
    assert release.split_counts(details) == {**images, "unsplit": 0}
    assert images == {"train": 63, "val": 6, "test": 4}
    found = {
        (entry["split"], entry["class_id"]): entry["instances"]
        for entry in details.shapes["classes"]
    }
    assert found == dict(objects)
    assert details.classes == ["Empire-State-building"]
    assert release.archive_size == path.stat().st_size
    job = list_jobs(database)[0]
    assert (job.kind, job.subject) == (JobKind.RELEASE_STATS, str(release.id))
    assert (job.total, job.processed, job.failed) == (73 + 1, 73 + 1, 0)
    assert job.result["images"] == 73


def test_snapshots_hold_a_row_per_class_and_a_row_per_image(build, database, sound):
    build(archive=str(sound))
    release = find_release(database, "sound")
    snapshots = list_jobs(database)[0].result["snapshots"]
    classes = pq.read_table(snapshots["release_classes"]).to_pylist()
    assert [
        (row["split"], row["class_name"], row["geometry"], row["instances"], row["images"])
        for row in classes
    ] == [
        ("train", "cat", "box", 2, 2),
        ("train", "dog", "box", 1, 1),
        ("val", "dog", "box", 1, 1),
        ("test", "dog", "box", 1, 1),
    ]
    images = pq.read_table(snapshots["release_images"]).to_pylist()
    assert {row["member"]: (row["split"], row["instances"]) for row in images} == {
        "images/train/a.jpg": ("train", 2),
        "images/train/b.jpg": ("train", 1),
        "images/val/c.jpg": ("val", 1),
        "images/test/d.jpg": ("test", 1),
    }
    told = snapshot_metadata(snapshots["release_images"])
    assert told["release"] == "sound" and told["row_count"] == "4"
    # The same content again is the same snapshot.
    build("sound", force=True)
    root = get_settings().snapshots_folder
    for dataset in ("release_classes", "release_images"):
        assert len(list_snapshots(root, SnapshotSubject(dataset, "release", release.id))) == 1


def test_what_the_archive_tells_is_taken_and_can_be_verified(build, database, tmp_path):
    good = with_metadata(tmp_path / "good.zip", METADATA)
    wrong = with_metadata(
        tmp_path / "wrong.zip",
        {**METADATA, "split_counts": {"train": 3, "val": 1, "test": 0}},
    )
    for path in (good, wrong):
        assert build(archive=str(path)).is_completed()
        row = read_row(database, path.stem)
        assert row["stats_source"] == "metadata" and row["classes_json"] == ["cat", "dog"]
    row = read_row(database, "wrong")
    assert (row["train_image_count"], row["val_image_count"], row["test_image_count"]) == (3, 1, 0)
    assert list_jobs(database)[0].total == 1, "no label file was read"

    build("good", verify=True)
    assert read_row(database, "good")["problems_json"] == []
    build("wrong", verify=True)
    row = read_row(database, "wrong")
    assert (row["train_image_count"], row["val_image_count"], row["test_image_count"]) == (2, 1, 1)
    assert row["stats_source"] == "scan"
    details = [
        problem["detail"]
        for problem in row["problems_json"]
        if problem["code"] == "metadata_differs"
    ]
    assert len(details) == 2
    assert "train" in details[0] and "3" in details[0] and "2" in details[0]


def test_an_unchanged_archive_is_read_once(build, database, sound):
    build(archive=str(sound))
    before = read_row(database, "sound")
    os.utime(sound, ns=(0, 0))
    state = build("sound")
    assert outcomes(state) == {"sound": "unchanged"}
    assert list_jobs(database)[0].total == 0
    after = read_row(database, "sound")
    assert after.pop("archive_modified_at") != before.pop("archive_modified_at")
    assert after == before
    assert outcomes(build("sound", force=True)) == {"sound": "built"}

    files = sound_dataset()
    files["images/test/e.jpg"] = b"a new picture"
    write_zip(sound, files)
    assert outcomes(build("sound")) == {"sound": "built"}
    assert read_row(database, "sound")["test_image_count"] == 2


def test_a_failure_keeps_earlier_statistics_and_stops_nobody_else(build, database, sound, tmp_path):
    build(archive=str(sound))
    before = read_row(database, "sound")
    whole = sound.read_bytes()
    sound.write_bytes(whole[: len(whole) // 2])
    for name in ("nothing", "other", "gone"):
        write_zip(tmp_path / f"{name}.zip", sound_dataset())
        register_release(database, tmp_path / f"{name}.zip")
    (tmp_path / "nothing.zip").write_bytes(b"no ZIP at all")
    (tmp_path / "gone.zip").unlink()
    with database.transaction() as connection:
        connection.execute(text("UPDATE releases SET stats_status = 'stale' WHERE name = 'sound'"))

    state = build()
    assert state.is_completed(), state.message
    assert outcomes(state) == {
        "sound": "failed",
        "nothing": "failed",
        "other": "built",
        "gone": "failed",
    }
    after = read_row(database, "sound")
    assert after["stats_status"] == "failed" and str(sound) in after["stats_error"]
    assert {**after, "stats_status": "completed", "stats_error": None} == before
    assert "is gone" in read_row(database, "gone")["stats_error"]
    failed = [job for job in list_jobs(database) if job.status is JobStatus.FAILED]
    assert len(failed) == 3
    assert {job.error_message for job in failed} >= {
        f"ReleaseError: {read_row(database, name)['stats_error']}" for name in ("nothing", "gone")
    }

    # Nothing pending is left; a failed one alone is a failed run.
    assert outcomes(build()) == {}
    alone = build("nothing")
    assert alone.is_failed() and "nothing.zip" in alone.message
    sound.write_bytes(whole)
    assert outcomes(build("sound")) == {"sound": "unchanged"}
    assert read_row(database, "sound")["stats_status"] == "completed"


def overlapping(path):
    """Two members become one: the second begins where the first one does."""
    content = bytearray(path.read_bytes())
    first = content.find(b"PK\x01\x02")
    second = content.find(b"PK\x01\x02", first + 4)
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    path.write_bytes(content)


def with_member(name, content):
    def change(path):
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (overlapping, "'data.yaml' and 'images/train/a.jpg' share bytes"),
        (with_member("../../outside.txt", b"x"), "'../../outside.txt' leads out of"),
        (with_member("labels/x.txt", b"0 .5 .5 .1 .1\n" * 400_000), "'labels/x.txt' inflates to"),
    ],
)
def test_an_archive_that_is_an_attack_fails_and_keeps_earlier_statistics(
    build, database, tmp_path, change, reason
):
    # Also one that tells its own statistics.
    path = with_metadata(tmp_path / "sound.zip", METADATA)
    build(archive=str(path))
    before = read_row(database, "sound")
    assert before["stats_status"] == "completed"
    change(path)
    for parameters in ({}, {"verify": True}):
        state = build("sound", **parameters)
        assert state.is_failed() and f"{path} is taken for an attack" in state.message
        after = read_row(database, "sound")
        assert reason in after["stats_error"] and after["stats_error"].endswith(".")
        assert {**after, "stats_status": "completed", "stats_error": None} == before
    assert not list(tmp_path.rglob("outside.txt"))


def test_hostile_archives_end_with_a_reason_or_statistics(build, database, tmp_path):
    collection = DATA / "zips-yauzl"
    for path in sorted(collection.rglob("*.zip")):
        register_release(database, path)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/train/a.jpg", b"a")
        archive.writestr("labels/train/a.txt", b"0 0.5 0.5 0.1 0.1\n" * 4_000_000)
        archive.writestr("../../outside.txt", b"x")
    register_release(database, bomb)
    state = build()
    assert state.is_completed(), state.message
    releases = list_releases(database)
    assert len(releases) == 48
    for release in releases:
        assert release.stats_status in (ReleaseStatsStatus.COMPLETED, ReleaseStatsStatus.FAILED)
        assert release.stats_error is None or str(release.model_path) in release.stats_error
    failed = [one for one in releases if one.stats_status is ReleaseStatsStatus.FAILED]
    assert 5 <= len(failed) <= 24
    assert "is taken for an attack" in read_row(database, "bomb")["stats_error"]
    assert not list(tmp_path.rglob("outside.txt"))


def test_a_path_is_checked_before_anything_is_registered(build, database, home, sound, monkeypatch):
    for wrong in ({"archive": "/no/such.zip"}, {"release": "x", "archive": str(sound)}):
        state = build(**wrong)
        assert state.is_failed()
        with pytest.raises(InvalidInputError):
            state.result()
    monkeypatch.setenv("VISIONFLOWS_DATA_ROOTS", str(home))
    get_settings.cache_clear()
    state = build(archive=str(sound))
    with pytest.raises(InvalidInputError, match="VISIONFLOWS_DATA_ROOTS"):
        state.result()
    # A run of a deployment is bound to the home folder while nothing else is set.
    monkeypatch.delenv("VISIONFLOWS_DATA_ROOTS")
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "of a test")
    get_settings.cache_clear()
    state = build(archive=str(sound))
    with pytest.raises(InvalidInputError, match="VISIONFLOWS_DATA_ROOTS"):
        state.result()
    assert list_releases(database) == []
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(sound, home / "inside.zip")
    assert build(archive=str(home / "inside.zip")).is_completed()


def test_the_artifact_shows_splits_classes_and_problems(build, sound):
    files = sound_dataset()
    files["images/val/copy.jpg"] = files["images/train/a.jpg"]
    write_zip(sound, files)
    page = artifacts_of(build(archive=str(sound)))["release-statistics-sound"].data
    assert "5 images, 2 classes, 5 objects" in page
    assert "| train | 2 | 40.0% | `█████████▋` | 2 | 0 | 0 | 0 |" in page
    assert "| 1 | dog | box | 3 | 3 |" in page
    assert r"| split\_leak\_exact | 1 |" in page


RUN = """
    import sys
    from flows.build_release_stats import build_release_stats
    state = build_release_stats(archive=sys.argv[1], return_state=True)
    print(state.message, flush=True)
"""


def test_killed_in_mid_scan_and_run_again_gives_the_same_row(build, database, tmp_path):
    path = long_archive(tmp_path / "long.zip")
    undisturbed = tmp_path / "undisturbed.zip"
    shutil.copy(path, undisturbed)
    process = start_python(RUN, str(path))
    wait_until(lambda: any(job.total for job in list_jobs(database)), "the scan has begun")
    kill(process)
    wait_until(lambda: list_jobs(database)[0].is_interrupted, "the lock of the dead is free")
    interrupted = list_jobs(database)[0]
    assert interrupted.processed < interrupted.total == 1501
    row = read_row(database, "long")
    assert row["stats_status"] == "pending" and row["train_image_count"] is None

    assert outcomes(build()) == {"long": "built"}
    assert build(archive=str(undisturbed)).is_completed()
    known = ("id", "name", "model_path", "created_at", "archive_modified_at")
    long, other = (
        {key: value for key, value in read_row(database, name).items() if key not in known}
        for name in ("long", "undisturbed")
    )
    assert long == other
    statuses = [job.status for job in list_jobs(database)]
    assert statuses == [JobStatus.COMPLETED, JobStatus.COMPLETED, JobStatus.FAILED]


@pytest.fixture
def blocked(database):
    """Holds the rows of all releases, so that a build waits before it stores anything."""

    class Blocked:
        def __enter__(self):
            self.connection = database.engine.connect()
            self.connection.execute(text("SELECT 1 FROM releases FOR UPDATE"))

        def __exit__(self, *_):
            self.connection.rollback()
            self.connection.close()

    return Blocked()


def test_a_second_start_reports_the_build_at_work_and_cancelling_stores_nothing(
    build, database, sound, blocked
):
    register_release(database, sound)
    states = []
    first = thread_of_flow(lambda: states.append(build("sound")))
    with blocked:
        first.start()
        wait_until(lambda: any(job.total for job in list_jobs(database)), "the build has begun")
        state = build("sound")
        assert outcomes(state) == {"sound": "already_running"}
    first.join(60)
    assert outcomes(states[0]) == {"sound": "built"}
    assert len(list_jobs(database)) == 1


def test_a_cancelled_build_stores_nothing_and_begins_no_other(build, database, tmp_path):
    long_archive(tmp_path / "long.zip", members=4000)
    register_release(database, tmp_path / "long.zip")
    states = []
    run = thread_of_flow(lambda: states.append(build()))
    run.start()
    wait_until(lambda: any(job.total for job in list_jobs(database)), "the scan has begun")
    cancel_job(database, list_jobs(database)[0].id)
    run.join(60)
    assert states[0].is_cancelled()
    assert read_row(database, "long")["stats_status"] == "pending"
    job = list_jobs(database)[0]
    assert job.status is JobStatus.CANCELLED and job.processed < job.total
    assert not list(get_settings().snapshots_folder.rglob("*.parquet"))


def test_check_release_stats_builds_what_is_missing_failed_or_outdated(
    build, database, tmp_path, prefect_client
):
    from flows.build_release_stats import check_release_stats

    names = ("current", "new", "failed", "rewritten", "older version", "gone")
    for name in names:
        write_zip(tmp_path / f"{name}.zip", sound_dataset())
        register_release(database, tmp_path / f"{name}.zip")
        if name not in ("new", "failed"):
            build(name)
    (tmp_path / "failed.zip").write_bytes(b"")
    assert build("failed").is_failed()
    write_zip(tmp_path / "failed.zip", sound_dataset())
    write_zip(tmp_path / "rewritten.zip", {**sound_dataset(), "images/val/x.jpg": b"x"})
    (tmp_path / "gone.zip").unlink()
    with database.transaction() as connection:
        connection.execute(
            text("UPDATE releases SET stats_version = 0 WHERE name = 'older version'")
        )
    state = check_release_stats(return_state=True)
    assert state.is_completed()
    assert outcomes(state) == {
        "new": "built",
        "failed": "built",
        "rewritten": "built",
        "older version": "built",
        "gone": "failed",
    }
    assert find_release(database, "rewritten").val_image_count == 2
    again = check_release_stats(return_state=True)
    assert outcomes(again) == {"gone": "failed"}
    assert find_release(database, "gone").train_image_count == 2, "earlier statistics stay"
