"""quality-metrics as a person runs it: real files, a real server, a real database."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from storage.database.tables.jobs import JobStatus
from storage.errors import VisionflowsError
from storage.jobs.records import list_jobs
from tasks.images.file_kinds import IMAGE_SUFFIXES
from tasks.projects.registration_steps import register_project
from tasks.quality.issues import BlurRule, QualityThresholds
from tests.flows.artifacts import artifacts_of
from tests.flows.quality_metrics import reference
from tests.places import DATA

# What may differ between two runs that found the same: ids are drawn at random, times go on.
UNSTABLE = {
    "project_image_id",
    "project_id",
    "shared_image_id",
    "nearest_image_id",
    "computed_at",
}


def stable(rows):
    return [{name: row[name] for name in row if name not in UNSTABLE} for row in rows]


def by_name(rows, ending):
    found = [row for row in rows if row["relative_path"].endswith(ending)]
    assert len(found) == 1, (ending, found)
    return found[0]


def test_real_photographs_give_the_values_of_the_definitions(
    photographs, database, flow_runner, quality_rows
):
    register_project(database, "photographs", photographs, workers=2)
    state = flow_runner("photographs")
    assert state.is_completed(), state.message
    rows = quality_rows("photographs")
    assert len(rows) == sum(
        path.suffix in (".jpg", ".png") for path in photographs.rglob("*") if path.is_file()
    )

    corrupt = by_name(rows, "ukbench09268_corrupt.jpg")
    assert corrupt["status"] == "failed"
    assert "ukbench09268_corrupt.jpg" in corrupt["error_message"]
    assert corrupt["sharpness"] is None

    measured = [row for row in rows if row["status"] == "completed"]
    assert len(measured) == len(rows) - 1
    for row in measured:
        path = photographs / row["relative_path"]
        expected = reference.measure(path)
        assert row["perceptual_hash"] == expected.perceptual_hash, path
        assert row["sharpness"] == pytest.approx(expected.sharpness, abs=1e-6), path
        assert row["brightness"] == pytest.approx(expected.brightness, abs=1e-6), path
        assert row["contrast"] == pytest.approx(expected.contrast, abs=1e-6), path
        found = (row["red_avg"], row["green_avg"], row["blue_avg"])
        assert found == pytest.approx(expected.means, abs=1e-6), path

    usable = [row for row in measured if not row["low_information"]]
    table = reference.distances([row["perceptual_hash"] for row in usable])
    for place, row in enumerate(usable):
        others = [int(d) for other, d in enumerate(table[place]) if other != place]
        assert row["nearest_distance"] == min(others)
        assert row["uniqueness"] == min(others) / 64
        nearest = next(
            usable[other]["relative_path"]
            for other, d in enumerate(table[place])
            if other != place and d == min(others)
        )
        assert row["nearest_relative_path"] == nearest
        expected_total = (
            0.35 * row["sharpness"]
            + 0.20 * (1 - 2 * abs(row["brightness"] - 0.5))
            + 0.20 * row["contrast"]
            + 0.25 * row["uniqueness"]
        )
        assert row["overall_quality"] == pytest.approx(min(max(expected_total, 0), 1), abs=1e-12)
    expected_groups = {
        frozenset(usable[place]["relative_path"] for place in group)
        for group in reference.groups_within(table, 6)
    }
    found_groups: dict[int, set[str]] = {}
    for row in measured:
        if row["duplicate_group"] is not None:
            found_groups.setdefault(row["duplicate_group"], set()).add(row["relative_path"])
    assert {frozenset(paths) for paths in found_groups.values()} == expected_groups

    # The known answers of the collections.
    assert by_name(rows, "image_142.png")["nearest_relative_path"].endswith("image_236.png")
    assert by_name(rows, "image_142.png")["uniqueness"] == 0
    same = by_name(rows, "image_103.png")["duplicate_group"]
    assert same is not None
    assert by_name(rows, "image_408.png")["duplicate_group"] == same
    assert "low_brightness" in by_name(rows, "image_417.png")["issues"]
    assert "high_brightness" in by_name(rows, "image_588.png")["issues"]
    assert "high_brightness" in by_name(rows, "image_591.png")["issues"]
    for picture in ("Landscape", "Portrait"):
        copies = {
            by_name(rows, f"{picture}_{number}.jpg")["duplicate_group"] for number in range(9)
        }
        assert len(copies) == 1 and None not in copies
    for row in rows:
        if "dark-retinexnet" in row["relative_path"]:
            assert "low_brightness" in row["issues"], row["relative_path"]


def test_blur_is_decided_by_focus_or_by_the_plain_rule(
    photographs, database, flow_runner, quality_rows
):
    register_project(database, "photographs", photographs, workers=2)
    assert flow_runner("photographs").is_completed()
    by_focus = {row["relative_path"]: row for row in quality_rows("photographs")}
    threshold = QualityThresholds().focus
    for path, row in by_focus.items():
        if row["status"] == "completed":
            blurred = row["focus"] < threshold and not row["low_information"]
            assert ("blur" in row["issues"]) == blurred, path

    plain = QualityThresholds(blur_rule=BlurRule.SHARPNESS, sharpness_reference=400)
    state = flow_runner("photographs", thresholds=plain)
    assert state.is_completed()
    for row in quality_rows("photographs"):
        if row["status"] == "completed":
            sharpness = min(row["sharpness_variance"] / 400, 1)
            assert row["sharpness"] == pytest.approx(sharpness)
            assert ("blur" in row["issues"]) == (sharpness < 0.15)
    # Only the comparison was made anew: nothing was decoded again.
    assert list_jobs(database)[0].total == 0


def test_results_do_not_depend_on_batch_size_order_or_time_of_arrival(
    small_photographs, tmp_path, database, flow_runner, quality_rows
):
    for name, batch_size in (("one", 1), ("seven", 7), ("whole", 200)):
        folder = tmp_path / name
        shutil.copytree(small_photographs, folder)
        register_project(database, name, folder, workers=2)
        with database.transaction() as connection:
            # Every project measures for itself, though the contents are the same.
            connection.exec_driver_sql("DELETE FROM image_quality_metrics")
        assert flow_runner(name, batch_size=batch_size).is_completed()
        job = list_jobs(database)[0]
        assert (job.processed, job.failed, job.total) == (24, 0, 24)
    expected = stable(quality_rows("one"))
    assert stable(quality_rows("seven")) == expected
    assert stable(quality_rows("whole")) == expected

    # Half of the images are added later, in a drawn order.
    paths = sorted(p.relative_to(small_photographs) for p in small_photographs.rglob("*.*"))
    random.Random(7).shuffle(paths)
    late = tmp_path / "late"
    for half in (paths[:12], paths[12:]):
        for path in half:
            (late / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(small_photographs / path, late / path)
        register_project(database, "late", late, workers=2)
        with database.transaction() as connection:
            connection.exec_driver_sql(
                "DELETE FROM image_quality_metrics WHERE NOT EXISTS (SELECT 1 FROM "
                "project_image_quality q JOIN project_images i ON i.id = q.project_image_id "
                "JOIN projects p ON p.id = i.project_id WHERE p.name = 'late' "
                "AND i.shared_image_id = image_quality_metrics.shared_image_id)"
            )
        assert flow_runner("late").is_completed()
        assert list_jobs(database)[0].total == 12
    assert stable(quality_rows("late")) == expected

    # And taken away again: what pointed at them finds its next neighbour.
    for path in paths[12:]:
        (late / path).unlink()
    register_project(database, "late", late, workers=2, accept_losses=True)
    assert flow_runner("late").is_completed()
    half_only = tmp_path / "half only"
    for path in paths[:12]:
        (half_only / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(small_photographs / path, half_only / path)
    register_project(database, "half", half_only, workers=2)
    assert flow_runner("half").is_completed()
    present = [row for row in quality_rows("late") if row["state"] == "present"]
    assert stable(present) == stable(quality_rows("half"))


def test_an_unchanged_project_is_not_measured_again(
    small_photographs, database, flow_runner, quality_rows
):
    register_project(database, "p", small_photographs, workers=2)
    first = flow_runner("p").result()
    before = quality_rows("p")
    second = flow_runner("p").result()
    jobs = list_jobs(database)
    assert [job.total for job in jobs] == [0, 24]
    assert [job.status for job in jobs] == [JobStatus.COMPLETED] * 2
    assert quality_rows("p") == before, "rows of unchanged images are not written again"
    assert second["snapshot"] == first["snapshot"]

    forced = flow_runner("p", force=True).result()
    assert list_jobs(database)[0].processed == 24
    assert stable(quality_rows("p")) == stable(before)
    assert forced["snapshot"] != first["snapshot"]


def test_the_same_content_is_measured_once_and_counted_for_every_image(
    small_photographs, tmp_path, database, flow_runner, quality_rows
):
    copies = tmp_path / "copies"
    shutil.copytree(small_photographs, copies / "a")
    shutil.copytree(small_photographs, copies / "b")
    register_project(database, "copies", copies, workers=2)
    assert flow_runner("copies", batch_size=5).is_completed()
    job = list_jobs(database)[0]
    assert (job.processed, job.total) == (48, 48)
    rows = quality_rows("copies")
    assert all(row["uniqueness"] == 0 and "duplicate" in row["issues"] for row in rows)
    with database.transaction() as connection:
        assert (
            connection.exec_driver_sql("SELECT count(*) FROM image_quality_metrics").scalar() == 24
        )

    register_project(database, "again", small_photographs, workers=2)
    assert flow_runner("again").is_completed()
    assert list_jobs(database)[0].total == 0, "measured through the other project already"
    assert all(row["status"] == "completed" for row in quality_rows("again"))


def test_flat_images_are_nobodys_duplicates(tmp_path, database, flow_runner, quality_rows):
    folder = tmp_path / "flat"
    folder.mkdir()
    Image.new("RGB", (64, 48), "black").save(folder / "black.png")
    Image.new("RGB", (64, 48), "white").save(folder / "white.png")
    Image.new("L", (1, 1), 255).save(folder / "one pixel.png")
    Image.new("RGB", (80, 80), "white").save(folder / "white too.png")
    register_project(database, "flat", folder, workers=1)
    assert flow_runner("flat").is_completed()
    for row in quality_rows("flat"):
        assert row["uniqueness"] == 1.0
        assert row["duplicate_group"] is None
        assert row["nearest_relative_path"] is None
        assert "low_information" in row["issues"] and "low_contrast" in row["issues"]
        assert "duplicate" not in row["issues"] and "blur" not in row["issues"]
    assert quality_rows("flat")[0]["issues"][0] == "low_brightness"


def test_every_oddity_is_measured_or_failed_with_its_name_and_cause(
    tmp_path, database, flow_runner, quality_rows
):
    folder = tmp_path / "oddities"
    for path in sorted((DATA / "pillow").rglob("*")):
        # Whatever the file is called, it is to be tried: some have suffixes of other things.
        if path.is_file() and path.name != "LICENSE":
            name = path.relative_to(DATA / "pillow").as_posix().replace("/", "__")
            folder.mkdir(exist_ok=True)
            shutil.copy(path, folder / (name if path.suffix != ".bin" else name + ".tif"))
    files = list(folder.iterdir())
    assert len(files) == 270
    for path in files:
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            path.rename(path.with_name(path.name + ".png"))
    registration = register_project(database, "oddities", folder, workers=2)
    assert registration.project.image_count == 270
    state = flow_runner("oddities")
    assert state.is_completed(), state.message
    job = list_jobs(database)[0]
    assert job.total == 270 and job.processed + job.failed == 270
    for row in quality_rows("oddities"):
        assert row["status"] in ("completed", "failed")
        if row["status"] == "failed":
            reason = row["error_message"].removeprefix(f"{row['filename']}: ")
            assert reason != row["error_message"], "the message names the file"
            assert reason.strip()
        else:
            assert 0 <= row["overall_quality"] <= 1


def test_half_and_truncated_jpegs_fail_and_the_others_are_measured(
    small_photographs, database, flow_runner, quality_rows
):
    source = next(small_photographs.rglob("*.jpg"))
    whole = source.read_bytes()
    for name, length in (("half", len(whole) // 2), ("short", len(whole) - 100), ("head", 300)):
        (small_photographs / f"{name}.jpg").write_bytes(whole[:length])
    (small_photographs / "empty.jpg").write_bytes(b"")
    (small_photographs / "text.jpg").write_text("not a picture")
    register_project(database, "p", small_photographs, workers=2)
    assert flow_runner("p").is_completed()
    job = list_jobs(database)[0]
    assert (job.total, job.processed, job.failed) == (29, 24, 5)
    failed = {row["filename"]: row for row in quality_rows("p") if row["status"] == "failed"}
    assert set(failed) == {"half.jpg", "short.jpg", "head.jpg", "empty.jpg", "text.jpg"}
    # Broken content is not tried again until the file or the decoders change.
    assert flow_runner("p").is_completed()
    assert list_jobs(database)[0].total == 0


def test_a_file_that_changes_or_goes_after_registration_fails_and_is_tried_again(
    small_photographs, database, flow_runner, quality_rows
):
    register_project(database, "p", small_photographs, workers=2)
    paths = sorted(small_photographs.rglob("*.jpg"))
    other = paths[1].read_bytes()
    gone = paths[0].read_bytes()
    stamp = paths[0].stat()
    paths[0].unlink()
    paths[1].write_bytes(other + b"\0")
    assert flow_runner("p").is_completed()
    failed = {row["filename"]: row["error_code"] for row in quality_rows("p") if row["error_code"]}
    assert sorted(failed.values()) == ["changed", "missing"]
    paths[0].write_bytes(gone)
    os.utime(paths[0], ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    register_project(database, "p", small_photographs, workers=2)
    assert flow_runner("p").is_completed()
    assert list_jobs(database)[0].processed == 2
    assert all(row["status"] == "completed" for row in quality_rows("p"))


def test_the_snapshot_holds_what_the_tables_say(
    small_photographs, database, flow_runner, quality_rows
):
    (small_photographs / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    register_project(database, "p", small_photographs, workers=2)
    result = flow_runner("p").result()
    table = pq.read_table(result["snapshot"])
    rows = quality_rows("p")
    assert table.num_rows == len(rows) == 25
    for stored, row in zip(table.to_pylist(), rows, strict=True):
        for name, value in stored.items():
            expected = str(row[name]) if name.endswith("_id") and row[name] else row[name]
            assert value == expected, name
    metadata = {
        key.decode(): value.decode()
        for key, value in pq.read_metadata(result["snapshot"]).metadata.items()
    }
    assert metadata["visionflows.row_count"] == "25"
    assert metadata["visionflows.flow"] == "quality-metrics"
    assert Path(result["snapshot"]).parent.name.startswith("project=")


def test_artifacts_show_progress_summary_and_duplicates(small_photographs, database, flow_runner):
    register_project(database, "p", small_photographs, workers=2)
    artifacts = artifacts_of(flow_runner("p"))
    assert set(artifacts) == {"quality-progress-p", "quality-summary-p"}
    assert artifacts["quality-progress-p"].data == 100.0
    assert "24 measured, 0 failed" in artifacts["quality-progress-p"].description
    assert "24 images, 24 measured, 0 failed" in artifacts["quality-summary-p"].data
    assert "## Near-duplicates: " in artifacts["quality-summary-p"].data
    assert "frames" in artifacts["quality-summary-p"].data


def test_bad_parameters_are_refused(small_photographs, database, flow_runner):
    register_project(database, "p", small_photographs, workers=2)
    for parameters in ({"batch_size": 0}, {"batch_size": 201}, {"thresholds": {"focus": -1}}):
        state = flow_runner("p", **parameters)
        assert state.is_failed()
        assert next(iter(parameters)) in state.message
    state = flow_runner("nobody")
    assert state.is_failed()
    with pytest.raises(VisionflowsError, match="'nobody'"):
        state.result()
    assert list_jobs(database) == []
