"""The quality of a project at a glance: figures counted by hand, and when they are counted anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from sqlalchemy import text

from storage.database.connection import Database
from storage.projects.images import ImageLabelFile, LabelRegistration, register_files
from storage.projects.projects import find_project
from storage.projects.quality import store_measurements
from storage.projects.quality_overview import (
    QualityCounts,
    load_quality_counts,
    load_quality_overview,
)
from tests.storage.projects.quality_rows import (
    compare,
    compared,
    failed,
    image_ids,
    make_project,
    measured,
    store,
)


def test_the_overview_equals_figures_counted_by_hand(database: Database) -> None:
    project = make_project(database, {name: name for name in [*"abcdef", "gone", "bad"]})
    ids = image_ids(database, project)
    register_files(database, project, [], [*"abcdef", "bad"])
    brightness = {"a": 0.0, "b": 0.1, "c": 0.95, "d": 1.0, "gone": 0.5}
    store(database, *(measured(ids[n][1], brightness=value) for n, value in brightness.items()))
    store(database, failed(ids["bad"][1], "corrupt"))
    compare(
        database,
        project.id,
        compared(ids["a"][0], overall_quality=0.9, duplicate_group=1, issues=["low_brightness"]),
        compared(
            ids["b"][0], overall_quality=0.2, duplicate_group=1, issues=["low_brightness", "blur"]
        ),
        compared(ids["c"][0], overall_quality=0.4, duplicate_group=2),
        compared(ids["d"][0], overall_quality=0.5, duplicate_group=2, uniqueness=0.25),
    )
    overview = load_quality_overview(database, project.id)
    assert (overview.images, overview.completed, overview.failed) == (7, 4, 1)
    assert overview.mean_overall_quality is not None
    assert math.isclose(overview.mean_overall_quality, (0.9 + 0.2 + 0.4 + 0.5) / 4)
    assert overview.issues == {"low_brightness": 2, "blur": 1}
    assert overview.histograms["brightness"] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert overview.histograms["overall_quality"] == [0, 0, 1, 0, 1, 1, 0, 0, 0, 1]
    assert overview.histograms["uniqueness"] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 3]
    assert [row["relative_path"] for row in overview.worst] == ["b", "c", "d", "a"]
    assert overview.duplicate_groups == {1: ["a", "b"], 2: ["c", "d"]}
    assert overview.duplicate_group_count == 2
    assert overview.failures == [("bad", "it is corrupt")]
    short = load_quality_overview(database, project.id, most_rows=1)
    assert [row["relative_path"] for row in short.worst] == ["b"]
    assert (short.duplicate_groups, short.duplicate_group_count) == ({1: ["a"]}, 2)


def test_the_mean_does_not_depend_on_the_order_of_the_rows(database: Database) -> None:
    project = make_project(database, {name: name for name in "abc"})
    ids = image_ids(database, project)
    register_files(database, project, [], [*"abc"])
    store(database, *(measured(ids[name][1]) for name in "abc"))
    # As binary fractions, added in this order, they are 0.6000000000000001.
    values = {"a": 0.1, "b": 0.2, "c": 0.3}.items()
    compare(
        database,
        project.id,
        *(compared(ids[name][0], overall_quality=value) for name, value in values),
    )
    assert load_quality_overview(database, project.id).mean_overall_quality == 0.2


def test_the_overview_of_nothing(database: Database) -> None:
    overview = load_quality_overview(database, uuid4())
    assert (overview.images, overview.mean_overall_quality) == (0, None)
    assert (overview.issues, overview.worst, overview.failures) == ({}, [], [])
    assert overview.histograms["sharpness"] == [0] * 10


def test_kept_counts_hold_until_an_image_changes_whoever_changes_it(database: Database) -> None:
    project = make_project(database, {name: name for name in "abcd"})
    other = make_project(database, {"o": "o"}, name="other")
    ids = image_ids(database, project)

    label_file = ImageLabelFile("a", "train", "a.txt", "yolo", 1)
    labels = LabelRegistration([label_file], {0: "gull"}, "x")

    def counted_anew() -> QualityCounts:
        with database.transaction() as connection:
            connection.execute(text("UPDATE projects SET quality_counts = NULL"))
        return load_quality_counts(database, project.id)

    def is_kept() -> bool:
        (row,) = database.rows(
            "SELECT NOT EXISTS (SELECT 1 FROM image_listing_changes WHERE project_id = :id) "
            "AND quality_counts IS NOT NULL FROM projects WHERE id = :id",
            id=project.id,
        )
        return bool(row[0])

    def has_right_counts() -> bool:
        found = find_project(database, project.name)
        (row,) = database.rows(
            "SELECT count(*) FILTER (WHERE state = 'present'), "
            "count(*) FILTER (WHERE state = 'missing'), "
            "count(*) FILTER (WHERE state = 'present' AND is_labeled) "
            "FROM project_images WHERE project_id = :id",
            id=project.id,
        )
        return tuple(row) == (found.image_count, found.missing_count, found.labeled_count)

    changes: list[Callable[[], object]] = [
        lambda: register_files(database, project, [], [*"abcd"], labels=labels),
        lambda: store(database, *(measured(ids[n][1]) for n in "abc")),
        lambda: store(database, failed(ids["d"][1], "corrupt")),
        lambda: compare(database, project.id, compared(ids["a"][0], issues=["blur"])),
        lambda: register_files(database, project, [], ["b"]),
        lambda: register_files(database, project, [], []),
    ]
    load_quality_counts(database, project.id)
    for change in changes:
        assert is_kept()
        compare(database, other.id, compared(image_ids(database, other)["o"][0]))
        assert is_kept(), "another project's"
        change()
        assert not is_kept() and has_right_counts()
        found = load_quality_counts(database, project.id)
        assert found == load_quality_counts(database, project.id) == counted_anew()
        assert has_right_counts()
    database.rows(
        "UPDATE projects SET quality_counts = quality_counts || '{\"images\": 77}' RETURNING id"
    )
    assert find_project(database, project.name).image_count == 77, "nothing was counted again"


def test_a_change_that_is_committed_while_it_is_counted_is_counted_the_next_time(
    database: Database,
) -> None:
    project = make_project(database, {name: name for name in "ab"})
    ids = image_ids(database, project)
    with database.transaction() as connection:
        store_measurements(connection, [measured(ids["a"][1])])
        before = load_quality_counts(database, project.id)
        assert before.completed == 0
    assert load_quality_counts(database, project.id).completed == 1
    # Two that keep their counts at once do not hinder each other.
    with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as slow:
        store(database, measured(ids["b"][1]))
        with slow.begin():
            slow.execute(text("SELECT 1"))
            with ThreadPoolExecutor(4) as pool:
                counts = list(
                    pool.map(lambda _: load_quality_counts(database, project.id), range(8))
                )
    assert {found.completed for found in counts} == {2}
