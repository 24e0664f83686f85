"""build-release-stats of an archive in a bucket: read in place, the result is that of the disk."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
from PIL import Image

from storage.jobs.records import list_jobs
from storage.releases import find_release, load_release_details
from tests.tasks.releases.archives import YAML, write_zip


def pictures_and_labels():
    """Images of 200 kB that cannot be compressed, each followed by its label file."""
    random = np.random.default_rng(7)
    files = {"data.yaml": YAML.encode()}
    for number in range(60):
        split = ("train", "val", "test")[number % 3]
        picture = io.BytesIO()
        pixels = random.integers(0, 256, (260, 260, 3), np.uint8)
        Image.fromarray(pixels).save(picture, "PNG")
        files[f"images/{split}/{number}.png"] = picture.getvalue()
        files[f"labels/{split}/{number}.txt"] = f"{number % 2} 0.5 0.5 0.2 0.2\n".encode()
    return files


def test_statistics_are_those_of_the_disk_and_images_are_not_transferred(
    prefect_client, database, bucket, object_store, tmp_path
):
    from flows.build_release_stats import build_release_stats, check_release_stats

    files = pictures_and_labels()
    # As exporters write them: one folder after the other.
    grouped = write_zip(tmp_path / "grouped.zip", dict(sorted(files.items())))
    remote = bucket / "releases" / "grouped.zip"
    remote.write_bytes(grouped.read_bytes())
    for archive in (str(grouped), str(remote)):
        assert build_release_stats(archive=archive, return_state=True).is_completed()
    local = find_release(database, "grouped")
    far = find_release(database, "grouped (2)")
    assert str(far.model_path) == str(remote)
    assert load_release_details(database, far.id) == load_release_details(database, local.id)
    columns = ("train_image_count", "val_image_count", "test_image_count", "class_count",
               "archive_size", "content_key", "stats_source")  # fmt: skip
    assert [getattr(far, one) for one in columns] == [getattr(local, one) for one in columns]
    told = next(job for job in list_jobs(database) if job.subject == str(far.id)).result
    assert told["archive_size"] == grouped.stat().st_size
    assert 0 < told["bytes_read"] < 0.02 * told["archive_size"]
    assert told["requests"] < 20
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    assert secret not in str([vars(job) for job in list_jobs(database)])

    # Unchanged: a look at its facts. Replaced: counted again.
    object_store[2].clear()
    assert check_release_stats(return_state=True).result() == {"releases": []}
    assert [method for method, _ in object_store[2]] == ["HEAD"]
    files.pop("labels/train/0.txt")
    remote.write_bytes(write_zip(tmp_path / "other.zip", files).read_bytes())
    again = check_release_stats(return_state=True).result()
    assert [one["outcome"] for one in again["releases"]] == ["built"]
    assert load_release_details(database, far.id) != load_release_details(database, local.id)

    # Gone: a sentence, and the statistics stay.
    missing = build_release_stats(archive=f"{bucket}/none.zip", return_state=True)
    assert missing.is_failed() and f"There is no file {bucket}/none.zip" in missing.message


def test_labels_between_images_are_read_without_them(bucket, object_store, tmp_path):
    from tasks.releases.archive.source import open_archive
    from tasks.releases.scan import scan_release

    files = pictures_and_labels()
    mixed = write_zip(tmp_path / "mixed.zip", files, method=zipfile.ZIP_DEFLATED)
    remote = bucket / "mixed.zip"
    remote.write_bytes(mixed.read_bytes())
    held, _ = open_archive(remote)
    object_store[2].clear()
    assert scan_release(remote).shapes == scan_release(mixed).shapes
    assert held.bytes_read < 0.05 * held.facts.size
    # What the server saw is what is said: a look, the tail with the directory, one a label file.
    assert len(object_store[2]) == held.requests - 1 < 70
