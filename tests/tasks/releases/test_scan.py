"""Scanning whole releases: a real dataset, counts by independent code, cancelling, limits."""

from __future__ import annotations

import random
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest
import yaml

from storage.errors import InvalidInputError, JobCancelledError
from tasks.labels.limits import DatasetLimits
from tasks.releases.scan import scan_release
from tasks.releases.statistics import IMAGE_ROWS_SCHEMA
from tests.places import EMPIRE, ROOT
from tests.tasks.releases.archives import ROWS, YAML, sound_dataset, totals, write_zip


@pytest.fixture(scope="module")
def empire(tmp_path_factory):
    path = tmp_path_factory.mktemp("empire") / "empire.zip"
    files = [file for file in sorted(EMPIRE.rglob("*")) if file.is_file()]
    return write_zip(path, {str(file.relative_to(EMPIRE)): file.read_bytes() for file in files})


def counted_plainly(path: Path):
    """Images per split and rows per (split, class), with nothing but zipfile."""
    images, rows = Counter(), Counter()
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            member = PurePosixPath(name)
            (split,) = {"train", "valid", "val", "test"} & set(member.parts) or {None}
            if "images" in member.parts and member.suffix == ".jpg":
                images[split] += 1
            if "labels" in member.parts and member.suffix == ".txt":
                for line in archive.read(name).decode().splitlines():
                    if line.strip():
                        rows[split, int(line.split()[0])] += 1
    return images, rows


def test_a_real_export(empire):
    found = scan_release(empire)
    assert totals(found)[0] == (63, 6, 4)
    assert found.class_count == 1
    images, rows = counted_plainly(empire)
    assert images == {"train": 63, "valid": 6, "test": 4}
    assert {
        (shapes.split.replace("val", "valid"), shapes.class_id): shapes.instances
        for shapes in found.shapes.classes
    } == rows
    (source,) = EMPIRE.rglob("data.yaml")
    assert found.classes_json() == yaml.safe_load(source.read_text())["names"]
    assert totals(found)[1] == totals(found)[2] == rows.total()


def made_dataset(seed: int, count: int) -> dict[str, bytes]:
    """Images with rows of boxes; some empty, some without a file."""
    random_numbers = random.Random(seed)
    files = {"data.yaml": b"names: [a, b, c, d]"}
    for number in range(count):
        split = random_numbers.choice(["train", "train", "val", "test"])
        files[f"images/{split}/{number:05}.jpg"] = b"picture %d" % number
        if random_numbers.random() < 0.05:
            continue
        rows = [
            f"{random_numbers.randrange(4)} "
            + " ".join(f"{random_numbers.uniform(0.25, 0.5):.6f}" for _ in range(4))
            for _ in range(random_numbers.randrange(6))
        ]
        files[f"labels/{split}/{number:05}.txt"] = "\n".join(rows).encode()
    return files


def test_counts_of_thousands_of_files_by_other_code(tmp_path):
    files = made_dataset(7, 6000)
    path = write_zip(tmp_path / "made.zip", files)
    seen = []
    found = scan_release(path, progress=lambda done, total: seen.append((done, total)))
    images, rows = counted_plainly(path)
    assert totals(found)[0] == (images["train"], images["val"], images["test"])
    written = {(one.split, one.class_id): one.instances for one in found.shapes.classes}
    assert written == rows
    labels = sum(name.endswith(".txt") for name in files)
    assert seen[-1] == (labels, labels)
    assert seen == sorted(seen)
    # The objects of each image, and the histograms, by other code.
    expected = {
        name.replace("images", "labels").replace(".jpg", ".txt"): name
        for name in files
        if name.endswith(".jpg")
    }
    by_image = {image: len(files.get(label, b"").splitlines()) for label, image in expected.items()}
    found_rows = [row for batch in found.image_batches() for row in batch.to_pylist()]
    assert {row["member"]: row["instances"] for row in found_rows} == by_image
    for shapes in found.shapes.classes:
        for histogram in shapes.histograms.values():
            assert sum(histogram.counts) == shapes.instances
    widths = Counter()
    for name, content in files.items():
        if name.startswith("labels/train"):
            widths.update(line.split()[3] < b"0.3" for line in content.splitlines())
    narrow = sum(
        sum(shapes.histograms["width"].counts[:9])
        for shapes in found.shapes.classes
        if shapes.split == "train"
    )
    assert narrow == widths[True]


def test_images_and_pairs_of_classes_by_other_code(tmp_path):
    files = made_dataset(8, 1500)
    found = scan_release(write_zip(tmp_path / "made.zip", files))
    images, pairs = Counter(), Counter()
    for name, content in files.items():
        if name.startswith("labels/"):
            classes = sorted({int(line.split()[0]) for line in content.splitlines()})
            images.update((name.split("/")[1], class_id) for class_id in classes)
            pairs.update(
                (first, second) for first in classes for second in classes if first < second
            )
    assert {(one.split, one.class_id): one.images for one in found.shapes.classes} == images
    together = {(one.first_id, one.second_id): one.images for one in found.shapes.co_occurrence}
    assert together == pairs


def test_rows_of_images_have_the_schema(tmp_path):
    files = {**sound_dataset(), "labels/val/c.txt": b"", "labels/test/d.txt": b"0 .5 .5 .1\n"}
    found = scan_release(write_zip(tmp_path / "r.zip", files))
    (batch,) = found.image_batches()
    assert batch.schema == IMAGE_ROWS_SCHEMA
    rows = {row["member"]: row for row in batch.to_pylist()}
    assert rows["images/train/a.jpg"]["label_member"] == "labels/train/a.txt"
    assert rows["images/train/a.jpg"]["instances"] == 2
    assert rows["images/val/c.jpg"]["label_state"] == "empty"
    assert (
        rows["images/test/d.jpg"]["problem_rows"],
        rows["images/test/d.jpg"]["is_trainable"],
    ) == (
        1,
        False,
    )
    assert list(found.image_batches()) == [batch]


def test_a_scan_can_be_stopped(tmp_path):
    path = write_zip(tmp_path / "r.zip", sound_dataset())
    with pytest.raises(JobCancelledError):
        scan_release(path, should_stop=lambda: True)
    assert scan_release(path, should_stop=lambda: False).image_count == 4


def test_problems_are_listed_up_to_a_limit_and_all_counted(tmp_path):
    files = {**sound_dataset(), "labels/train/b.txt": b"0 .5 .5 .1\n" * 500}
    path = write_zip(tmp_path / "r.zip", files)
    found = scan_release(path, DatasetLimits(listed_per_code=10))
    assert found.problem_totals == {"row_too_short": 500}
    assert len(found.problems) == 11
    assert [problem.line for problem in found.problems] == [*range(1, 11), None]
    assert found.problems[-1].count == 490
    assert found.problems_json()[-1] == {
        "code": "row_too_short", "member": None, "line": None,
        "detail": "490 more of this kind", "count": 490,
    }  # fmt: skip


def test_limits_on_labels(tmp_path):
    path = write_zip(tmp_path / "r.zip", made_dataset(1, 200))
    assert scan_release(path, DatasetLimits(label_bytes=10)).problem_totals["member_too_large"]
    odd = {**sound_dataset(), "labels/train/b.txt": b"cat .5 .5 .1 .1"}
    path = write_zip(tmp_path / "odd.zip", odd)
    found = scan_release(path, DatasetLimits(irregular_label_bytes=3))
    assert found.problem_totals == {"labels_not_read": 1}
    assert found.shapes.splits[0].unreadable_labels == 1


def test_many_classes_are_bounded(tmp_path):
    rows = "".join(f"{number} .5 .5 .1 .1\n" for number in range(500))
    files = {"images/train/a.jpg": b"x", "labels/train/a.txt": rows.encode()}
    path = write_zip(tmp_path / "r.zip", files)
    assert scan_release(path).class_count == 500
    found = scan_release(path, DatasetLimits(classes=25))
    assert len(found.shapes.classes) == 100
    assert found.problem_totals == {"classes_too_many": 1}


SCAN = """
import sys
from pathlib import Path
from tasks.releases.scan import scan_release
print(sum(split.instances for split in scan_release(Path(sys.argv[1])).shapes.splits))
print(next(int(line.split()[1]) >> 10 for line in open("/proc/self/status") if "VmHWM" in line))
"""


def test_memory_does_not_grow_with_the_number_of_labels(tmp_path):
    rows, peaks = b"0 .5 .5 .1 .1\n" * 200_000, []
    for count in (1, 10):
        files = {f"labels/train/{number}.txt": rows for number in range(count)}
        files |= {f"images/train/{number}.jpg": b"x" for number in range(count)}
        path = write_zip(tmp_path / "long.zip", files, method=zipfile.ZIP_STORED)
        done = subprocess.run(
            [sys.executable, "-c", SCAN, str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        instances, peak = map(int, done.stdout.split())
        assert instances == count * 200_000
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 60, "nine more take as much as one"


def test_more_labels_than_may_be_are_refused(tmp_path):
    path = write_zip(tmp_path / "r.zip", sound_dataset())
    size = sum(len(rows) for rows in ROWS.values()) + len(YAML)
    assert scan_release(path, DatasetLimits(all_label_bytes=size)).image_count == 4
    with pytest.raises(InvalidInputError, match="VISIONFLOWS_MAX_ALL_LABEL_BYTES") as raised:
        scan_release(path, DatasetLimits(all_label_bytes=size - 1))
    assert str(path) in str(raised.value)
