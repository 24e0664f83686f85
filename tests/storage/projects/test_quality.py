"""Measurements and comparisons: what is stored, kept, left out and shown."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from storage.database.connection import Database
from storage.database.snapshot_views import IMAGE_QUALITY
from storage.database.tables.jobs import JobKind
from storage.jobs.chunks import claim_chunk, plan_job, record_batch
from storage.jobs.held import HeldJob, start_job
from storage.projects.images import register_files
from storage.projects.quality import (
    MeasurementVersions,
    fill_image_facts,
    list_unmeasured_images,
    load_image_files,
    load_measured_images,
    store_measurements,
)
from tests.storage.projects.quality_rows import (
    VERSIONS,
    compare,
    compared,
    failed,
    image_ids,
    make_project,
    measured,
    store,
)


def metrics(database: Database, shared_image_id: UUID) -> dict[str, Any]:
    with database.transaction() as connection:
        row = connection.execute(
            text("SELECT * FROM image_quality_metrics WHERE shared_image_id = :id"),
            {"id": shared_image_id},
        )
        return dict(row.mappings().one())


def unmeasured(
    database: Database,
    project_id: UUID,
    versions: MeasurementVersions = VERSIONS,
    *,
    force: bool = False,
) -> list[UUID]:
    found = list_unmeasured_images(
        database, project_id, versions, final_error_codes=["corrupt"], force=force
    )
    return [image.project_image_id for image in found]


def test_storing_a_measurement_again_gives_the_same_row(database: Database) -> None:
    project = make_project(database, {"a": "a"})
    _, shared = image_ids(database, project)["a"]
    store(database)
    store(database, measured(shared))
    first = metrics(database, shared)
    store(database, measured(shared), measured(shared))
    again = metrics(database, shared)
    assert {**first, "computed_at": None} == {**again, "computed_at": None}
    store(database, measured(shared, brightness=0.9))
    assert metrics(database, shared)["brightness"] == 0.9


def test_a_failure_never_replaces_a_good_measurement_but_the_reverse(database: Database) -> None:
    project = make_project(database, {"a": "a"})
    _, shared = image_ids(database, project)["a"]
    store(database, failed(shared, "missing"))
    store(database, failed(shared, "corrupt"))
    assert metrics(database, shared)["error_code"] == "corrupt"
    store(database, measured(shared))
    good = metrics(database, shared)
    assert (good["status"], good["error_code"], good["error_message"]) == ("completed", None, None)
    store(database, failed(shared, "missing", metrics_version=3))
    assert metrics(database, shared) == good


@pytest.mark.parametrize(
    "change",
    [
        {"brightness": None},
        {"perceptual_hash": None},
        {"status": "failed"},
        {"status": "failed", "error_message": "x" * 501},
    ],
)
def test_a_row_that_makes_no_sense_is_refused(database: Database, change: dict[str, Any]) -> None:
    project = make_project(database, {"a": "a"})
    _, shared = image_ids(database, project)["a"]
    with pytest.raises(IntegrityError):
        store(database, measured(shared, **change))


def test_writers_of_the_same_contents_do_not_wait_crosswise(database: Database) -> None:
    project = make_project(database, {str(n): str(n) for n in range(60)})
    shared = [ids[1] for ids in image_ids(database, project).values()]

    def write(seed: int) -> None:
        mixed = random.Random(seed).sample(shared, len(shared))
        facts = [
            {"shared_image_id": key, "width": seed, "height": 1, "format": "PNG"} for key in mixed
        ]
        for _ in range(5):
            with database.transaction() as connection:
                fill_image_facts(connection, facts)
            store(database, *(measured(key) for key in mixed))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert unmeasured(database, project.id) == []


def test_images_to_be_measured(database: Database) -> None:
    names = ["new", "good", "old version", "corrupt", "corrupt, old decoder", "missing", "no code"]
    project = make_project(database, {name: name for name in [*names, "gone"]})
    ids = image_ids(database, project)
    register_files(database, project, [], names)
    shared = {name: ids[name][1] for name in ids}
    store(
        database,
        measured(shared["good"], pillow_version="1.0"),
        measured(shared["old version"], metrics_version=1),
        failed(shared["corrupt"], "corrupt"),
        failed(shared["corrupt, old decoder"], "corrupt", pillow_version="1.0"),
        failed(shared["missing"], "missing"),
        failed(shared["no code"], "missing", error_code=None),
    )

    def named(versions: MeasurementVersions = VERSIONS, *, force: bool = False) -> set[str]:
        found = unmeasured(database, project.id, versions, force=force)
        return {name for name in ids if ids[name][0] in found}

    due = {"new", "old version", "corrupt, old decoder", "missing", "no code"}
    assert named() == due
    assert named(force=True) == set(names)
    assert named(MeasurementVersions(3, "12.0", "5.0")) == set(names)
    assert named(MeasurementVersions(2, "12.0", "5.1")) == due | {"corrupt"}


def test_equal_contents_come_next_to_each_other_in_the_order_of_paths(database: Database) -> None:
    contents = {"Z": "1", "a": "2", "b": "1", "c": "3", "d": "2", "é": "4"}
    project = make_project(database, contents)
    ids = image_ids(database, project)
    order = unmeasured(database, project.id)
    assert order == [ids[name][0] for name in ("Z", "b", "a", "d", "c", "é")]


def test_files_come_in_the_order_of_their_ids(database: Database) -> None:
    project = make_project(database, {"x/a": "1", "b": "22", "c": "1"})
    ids = image_ids(database, project)
    wanted = [ids[name][0] for name in ("c", "x/a", "b")]
    with database.transaction() as connection:
        files = load_image_files(connection, [wanted[0], uuid4(), *wanted[1:]])
        assert load_image_files(connection, []) == []
    assert [item.project_image_id for item in files] == wanted
    assert [item.path for item in files] == [
        Path("/data/mussels") / name for name in ("c", "x/a", "b")
    ]
    assert [item.size for item in files] == [1, 1, 2]


def test_facts_are_filled_in(database: Database) -> None:
    project = make_project(database, {"a": "a"})
    _, shared = image_ids(database, project)["a"]
    with database.transaction() as connection:
        fill_image_facts(connection, [])
        facts = {"shared_image_id": shared, "width": 70_000, "height": None, "format": None}
        fill_image_facts(connection, [facts])
        row = connection.execute(text("SELECT width, height, format FROM shared_images")).one()
    assert tuple(row) == (70_000, None, None)


def test_only_changed_comparisons_are_written(database: Database) -> None:
    project = make_project(database, {"a": "a", "b": "b", "c": "c"})
    other = make_project(database, {"o": "a"}, name="other")
    a, b, c = (image_ids(database, project)[name][0] for name in "abc")
    o = image_ids(database, other)["o"][0]
    assert compare(database, other.id, compared(o)) == 1
    first = [
        compared(a, issues=["dark", 'o"d,d']),
        compared(b, nearest_image_id=a),
        compared(c),
    ]
    assert compare(database, project.id, *first) == 3

    def rows() -> dict[UUID, Any]:
        with database.transaction() as connection:
            found = connection.execute(text("SELECT *, xmin::text FROM project_image_quality"))
            return {row.project_image_id: row for row in found}

    before = rows()
    assert compare(database, project.id, *first) == 0
    assert rows() == before
    assert before[a].issues == ["dark", 'o"d,d']
    # One changed, one gone; the other project's is none of our business.
    assert compare(database, project.id, compared(a, uniqueness=0.2), first[1]) == 2
    after = rows()
    assert set(after) == {a, b, o}
    assert (after[b], after[o]) == (before[b], before[o])
    assert (after[a].uniqueness, after[a].issues) == (0.2, [])
    assert compare(database, project.id, compared(a, uniqueness=0.2), first[1], reference=9) == 2


def test_measured_images_are_those_that_are_present_and_good(database: Database) -> None:
    project = make_project(database, {"é": "1", "B": "2", "a": "3", "gone": "4", "bad": "5"})
    ids = image_ids(database, project)
    register_files(database, project, [], ["é", "B", "a", "bad"])
    store(database, *(measured(ids[name][1], focus=None) for name in ("é", "B", "a", "gone")))
    store(database, failed(ids["bad"][1], "corrupt"))
    compare(database, project.id, compared(ids["a"][0], nearest_image_id=ids["B"][0]))
    with database.transaction() as connection:
        images = load_measured_images(connection, project.id)
    assert [image.relative_path for image in images] == ["B", "a", "é"]
    assert images[1].nearest_image_id == ids["B"][0]
    assert (images[0].compared_hash, images[0].focus) == (None, None)
    assert (images[2].sharpness_variance, images[2].low_information) == (250.0, False)


def statuses(database: Database, project_id: UUID) -> dict[str, str]:
    with database.transaction() as connection:
        rows = connection.execute(
            text("SELECT relative_path, status FROM image_quality WHERE project_id = :id"),
            {"id": project_id},
        )
        return {row[0]: row[1] for row in rows}


def test_pending_and_processing_are_derived_from_the_job_at_work(database: Database) -> None:
    project = make_project(database, {name: name for name in "abcdef"})
    ids = image_ids(database, project)
    chunks = [[ids[name][0] for name in names] for names in ("abc", "def")]
    job = start_job(database, JobKind.QUALITY_METRICS, str(project.id))
    assert isinstance(job, HeldJob)
    with job:
        plan_job(database, job.reference, chunks)
        assert set(statuses(database, project.id).values()) == {"pending"}
        with database.transaction() as connection:
            claim = claim_chunk(connection, job.reference, 0)
            assert claim is not None
        with database.transaction() as connection:
            record_batch(connection, claim, position=2, processed=1, failed=1)
            store_measurements(connection, [measured(ids["a"][1])])
            store_measurements(connection, [failed(ids["b"][1], "corrupt")])
        assert statuses(database, project.id) == {
            "a": "completed",
            "b": "failed",
            "c": "processing",
            **dict.fromkeys("def", "pending"),
        }
    assert statuses(database, project.id)["c"] == "pending"


def test_the_stream_equals_the_rows_of_the_view(database: Database) -> None:
    project = make_project(database, {f"{n:02}ä": str(n) for n in range(25)})
    make_project(database, {"o": "0"}, name="other")
    ids = image_ids(database, project)
    store(database, *(measured(ids[f"{n:02}ä"][1], sharpness_variance=n * 100) for n in range(9)))
    store(database, failed(ids["20ä"][1], "corrupt"))
    first, second = ids["00ä"][0], ids["01ä"][0]
    near = compared(
        second, nearest_image_id=first, nearest_distance=3, issues=["low_brightness", "blur"]
    )
    compare(database, project.id, near, compared(first), reference=400.0)
    with database.reading() as connection:
        batches = list(IMAGE_QUALITY.read(connection, project.id, batch_rows=7))
        names = ", ".join(IMAGE_QUALITY.schema.names)
        rows = connection.execute(
            text(
                f"SELECT {names} FROM image_quality WHERE project_id = :id "
                'ORDER BY relative_path COLLATE "C"'
            ),
            {"id": project.id},
        ).mappings()
        expected = [dict(row) for row in rows]
        # Reading in a stream leaves the connection as it was.
        assert "yield_per" not in connection.get_execution_options()
    assert [batch.num_rows for batch in batches] == [7, 7, 7, 4]
    table = pa.Table.from_batches(batches, schema=IMAGE_QUALITY.schema)
    for row in expected:
        for name, value in row.items():
            row[name] = str(value) if isinstance(value, UUID) else value
    assert table.to_pylist() == expected
    assert table["nearest_relative_path"][1].as_py() == "00ä"
    # Sharpness is relative to the reference of the comparison, or to 500 without one, at most 1.
    assert table["sharpness"].to_pylist()[:9] == [0.0, 0.25, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0]


def test_the_stream_of_no_images_is_empty(database: Database) -> None:
    with database.reading() as connection:
        assert list(IMAGE_QUALITY.read(connection, uuid4())) == []
