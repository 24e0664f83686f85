"""Pages of images: complete, without repeats, in order, whatever the filter and the order."""

from __future__ import annotations

import random
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from storage.database.connection import Database
from storage.database.tables.quality import SORTED_COLUMNS
from storage.projects.image_details import find_image, nearest_images
from storage.projects.image_pages import (
    ImageFilter,
    ImageRow,
    ImageSort,
    ListedIssue,
    ListedState,
    SplitChoice,
    load_image_page,
)
from storage.projects.projects import ProjectRecord
from storage.projects.quality import store_comparisons
from storage.removal.leftovers import prune_unheld_images
from tasks.quality.issues import Issue
from tests.storage.projects.quality_rows import (
    compared,
    failed,
    image_ids,
    make_project,
    measured,
    store,
)

COUNT = 90


@pytest.fixture
def project(database: Database) -> ProjectRecord:
    """Images with many equal and missing values; a second project shares contents with it."""
    drawn = random.Random(4)
    contents = {f"{drawn.randrange(9)}/é{number}.png": f"{number // 2}" for number in range(COUNT)}
    project = make_project(database, contents)
    other = make_project(database, dict(list(contents.items())[:20]), name="other")
    ids = image_ids(database, project)
    some = list(dict.fromkeys(shared for _, shared in ids.values()))
    store(database, *(failed(shared, "corrupt") for shared in some[:5]))
    good = [
        measured(
            shared,
            brightness=drawn.choice([0.0, 0.25, 0.5]),
            contrast=drawn.random(),
            perceptual_hash=f"{drawn.getrandbits(64):016x}",
            focus=drawn.choice([None, 0.1, 0.2]),
            entropy=drawn.choice([None, 7.0]),
            low_information=drawn.random() < 0.2,
        )
        for shared in some[5:-4]
    ]
    store(database, *good)
    have = {row["shared_image_id"] for row in good}
    for one in (project, other):
        with database.transaction() as connection:
            rows = [
                compared(
                    image,
                    uniqueness=drawn.choice([0.0, 0.5, 1.0]),
                    overall_quality=round(drawn.random(), 1),
                    duplicate_group=drawn.choice([None, 1, 2]),
                    issues=[issue for issue in Issue if drawn.random() < 0.3],
                )
                for image, shared in image_ids(database, one).values()
                if shared in have
            ]
            store_comparisons(connection, one.id, rows, sharpness_reference=300.0)
    with database.transaction() as connection:
        for image, _ in ids.values():
            connection.execute(
                text(
                    "UPDATE project_images SET is_labeled = :labeled, split = :split, "
                    "state = CAST(:state AS project_image_state) WHERE id = :id"
                ),
                {
                    "id": image,
                    "labeled": drawn.random() < 0.5,
                    "split": drawn.choice([None, "train", "val", "test"]),
                    "state": "missing" if drawn.random() < 0.1 else "present",
                },
            )
        for place, name in enumerate(("live", "dead")):
            connection.execute(
                text("INSERT INTO project_classes (project_id, name) VALUES (:id, :name)"),
                {"id": project.id, "name": name},
            )
            connection.execute(
                text(
                    "INSERT INTO image_classes SELECT i.id, c.id, i.relative_path FROM "
                    "project_images i JOIN project_classes c USING (project_id) WHERE i.is_labeled "
                    "AND c.name = :name AND hashtext(i.relative_path) % 3 <> :place"
                ),
                {"name": name, "place": place},
            )
    return project


def all_pages(database: Database, project_id: UUID, chosen: ImageFilter, **order: Any) -> Any:
    found: list[ImageRow] = []
    after = None
    while True:
        page = load_image_page(database, project_id, chosen, after=after, limit=7, **order)
        assert page.total_is_exact
        found += page.images
        if page.next is None:
            assert len(found) == page.total
            return found
        assert len(page.images) == 7
        after = page.next


def truth(database: Database, project_id: UUID) -> dict[UUID, dict[str, Any]]:
    """What the view and the tables say, which the listing must agree with."""
    with database.transaction() as connection:
        rows = connection.execute(
            text(
                "SELECT v.*, i.is_labeled, i.file_size AS own_size, ARRAY(SELECT c.name FROM "
                "image_classes k JOIN project_classes c ON c.id = k.class_id WHERE "
                "k.project_image_id = i.id) AS classes FROM image_quality v "
                "JOIN project_images i ON i.id = v.project_image_id WHERE v.project_id = :id"
            ),
            {"id": project_id},
        ).mappings()
        return {row["project_image_id"]: dict(row) for row in rows}


def is_chosen(row: dict[str, Any], chosen: ImageFilter) -> bool:
    state = "measured" if row["status"] == "completed" else "unmeasured"
    state = "failed" if row["status"] == "failed" else state
    state = "missing" if row["state"] == "missing" else state
    is_current = state == "measured"
    wanted = {"present": ("measured", "unmeasured", "failed")}.get(
        str(chosen.state), (str(chosen.state),)
    )
    return (
        (chosen.state is None or state in wanted)
        and chosen.is_labeled in (None, row["is_labeled"])
        and (chosen.class_name is None or chosen.class_name in row["classes"])
        and (chosen.split is None or chosen.split == (row["split"] or "none"))
        and (chosen.issue is None or (is_current and chosen.issue in (row["issues"] or ())))
        and (
            chosen.duplicate_group is None
            or (is_current and row["duplicate_group"] == chosen.duplicate_group)
        )
    )


def test_every_filter_in_every_order_gives_every_image_once(
    database: Database, project: ProjectRecord
) -> None:
    rows = truth(database, project.id)
    filters = [
        ImageFilter(),
        *(ImageFilter(class_name=name) for name in ("live", "dead", "un\0known")),
        ImageFilter(class_name="dead", split=SplitChoice.TRAIN, state=ListedState.MEASURED),
        ImageFilter(class_name="live", duplicate_group=1),
        *(ImageFilter(state=state) for state in ListedState),
        *(ImageFilter(issue=issue) for issue in ListedIssue),
        *(ImageFilter(split=split, is_labeled=False) for split in SplitChoice),
        ImageFilter(issue=ListedIssue.DUPLICATE, state=ListedState.MEASURED, is_labeled=True),
        ImageFilter(duplicate_group=1),
        ImageFilter(duplicate_group=2, issue=ListedIssue.BLUR),
        ImageFilter(state=ListedState.MISSING, issue=ListedIssue.BLUR),
    ]
    for chosen in filters:
        expected = {id_ for id_, row in rows.items() if is_chosen(row, chosen)}
        assert {one.id for one in all_pages(database, project.id, chosen)} == expected, chosen
    of_project = ("overall_quality", "uniqueness")
    for sort, descending in product(ImageSort, (False, True)):
        found = all_pages(database, project.id, ImageFilter(), sort=sort, descending=descending)
        assert len(found) == len({one.id for one in found}) == COUNT
        keys = []
        for one in found:
            row = rows[one.id]
            if sort == "relative_path":
                value: Any = one.relative_path.encode()
            elif sort == "file_size":
                value = row["own_size"]
            else:
                hidden = sort in of_project and one.state is not ListedState.MEASURED
                value = None if hidden else row[sort.value]
                assert one.measures[sort.value] == value
            keys.append((value, one.id.bytes))
        with_value = [key for key in keys if key[0] is not None]
        assert keys[: len(with_value)] == with_value
        assert with_value == sorted(with_value, reverse=descending)
        without = [key[1] for key in keys[len(with_value) :]]
        assert without == sorted(without, reverse=descending)


def test_a_class_gives_the_same_whether_it_is_sorted_or_looked_for_in_lists(
    database: Database, project: ProjectRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ImageFilter(class_name="live", state=ListedState.PRESENT)
    orders = [
        (sort, descending)
        for sort in (ImageSort.RELATIVE_PATH, ImageSort.BRIGHTNESS, ImageSort.FOCUS)
        for descending in (False, True)
    ]

    def found() -> list[list[UUID]]:
        return [
            [
                one.id
                for one in all_pages(database, project.id, chosen, sort=sort, descending=descending)
            ]
            for sort, descending in orders
        ]

    few = found()
    for limit in ("_MOST_IN_LISTS", "_MOST_BY_KEY", "_MOST_IN_CLASS"):
        monkeypatch.setattr(f"storage.projects.image_pages.{limit}", 0)
        assert found() == few
    assert {len(one) for one in few} == {len(few[0])} and len(few[0]) > 14
    assert few[0] == few[1][::-1]


def test_the_words_of_the_listing_are_those_of_the_flows() -> None:
    assert [one.value for one in ListedIssue] == [one.value for one in Issue]
    assert set(SORTED_COLUMNS) == {one.value for one in ImageSort}


def test_the_listing_follows_whatever_changes(database: Database, project: ProjectRecord) -> None:
    """Triggers keep it: a measurement anew, another comparison, an image that goes."""
    ids = image_ids(database, project)
    path, (image, shared) = next(
        (path, both)
        for path, both in ids.items()
        if find_image(database, both[0]).image.state is ListedState.MEASURED
    )
    store(database, measured(shared, brightness=0.75))
    with database.transaction() as connection:
        one = compared(image, overall_quality=0.123, issues=["blur"], duplicate_group=None)
        store_comparisons(connection, project.id, [one], sharpness_reference=100.0)
    row = find_image(database, image).image
    assert row.relative_path == path
    assert (row.measures["brightness"], row.measures["overall_quality"]) == (0.75, 0.123)
    assert row.measures["sharpness"] == 1.0
    assert row.issues == [ListedIssue.BLUR]
    blurred = all_pages(database, project.id, ImageFilter(issue=ListedIssue.BLUR))
    assert [one.id for one in blurred] == [image]
    with database.transaction() as connection:
        connection.execute(text("DELETE FROM project_images WHERE id = :id"), {"id": image})
    assert prune_unheld_images(database) >= 0
    assert image not in {one.id for one in all_pages(database, project.id, ImageFilter())}


def test_what_changes_is_looked_up_and_no_table_is_read_whole(
    database: Database, project: ProjectRecord
) -> None:
    with database.transaction() as connection:
        connection.execute(text("UPDATE image_quality_metrics SET brightness = 0.75"))
        read = connection.execute(
            text(
                "SELECT relname FROM pg_stat_xact_user_tables WHERE seq_scan > 0 AND relname IN "
                "('project_images', 'project_image_quality', 'image_listing')"
            )
        )
        assert read.scalars().all() == []


def test_neighbours_are_the_nearest_hashes_of_the_project(
    database: Database, project: ProjectRecord
) -> None:
    rows = {
        id_: int(row["perceptual_hash"], 16)
        for id_, row in truth(database, project.id).items()
        if row["status"] == "completed" and not row["low_information"]
    }
    image = next(iter(rows))
    distances = sorted(
        ((own ^ rows[image]).bit_count(), id_.bytes) for id_, own in rows.items() if id_ != image
    )
    found = nearest_images(database, image, most=9)
    assert [(one.distance, one.image.id.bytes) for one in found] == distances[:9]
    flat = next(id_ for id_, row in truth(database, project.id).items() if row["low_information"])
    assert nearest_images(database, flat) == []
