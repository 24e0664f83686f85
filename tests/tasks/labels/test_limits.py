"""What is too large is refused in a sentence that names the setting, and never fills the memory."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from storage.errors import InvalidInputError
from storage.settings import get_settings
from tasks.images.folder_scan import scan_image_folder
from tasks.labels import limit_steps
from tasks.labels.dataset.reading import read_dataset_labels
from tasks.labels.folder_labels import read_folder_labels
from tasks.labels.limit_steps import dataset_limits
from tasks.labels.limits import DatasetLimits, FileTooLargeError
from tasks.releases.scan import scan_release
from tests.places import ROOT
from tests.tasks.labels.label_samples import codes, read_files
from tests.tasks.releases.archives import write_zip

# Reads a source as ingest does; prints the number of labels, the problems, and the peak in MiB.
READ = """
import sys
from pathlib import Path
from tasks.labels.dataset.reading import read_dataset_labels
from tasks.labels.limits import DEFAULT_LIMITS
from tasks.projects.sources.opening import open_source
source = open_source(Path(sys.argv[1]))
listing = source.list_files()
DEFAULT_LIMITS.check_sum(sys.argv[1], (file.size for file in listing.label_files))
def read(path):
    with source.open(path) as stream:
        return DEFAULT_LIMITS.read(stream)
paths = [file.relative_path for file in (*listing.images, *listing.label_files)]
found = read_dataset_labels(paths, read)
print(sum(len(image.labels.labels) for image in found.images if image.labels))
print(sorted({problem.code for problem in found.all_problems()}))
print(next(int(line.split()[1]) >> 10 for line in open("/proc/self/status") if "VmHWM" in line))
"""


def read_apart(path: Path) -> tuple[int, str, int]:
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    labels, problems, peak = done.stdout.splitlines()
    return int(labels), problems, int(peak)


def test_a_label_file_of_a_size_that_no_honest_one_has_is_not_read():
    honest = b"0 .5 .5 .1 .1\n"
    files = {"a.jpg": b"", "a.txt": honest * 2, "b.jpg": b"", "b.txt": honest}
    limits = DatasetLimits(label_bytes=len(honest))
    found = read_dataset_labels(files, files.__getitem__, limits=limits)
    (problem,) = found.all_problems()
    assert (problem.code, problem.place) == ("file_too_large", "a.txt")
    assert "more than 14 bytes (VISIONFLOWS_MAX_LABEL_BYTES)" in problem.reason
    assert [len(image.labels.labels) for image in found.images] == [0, 1]
    largest = DatasetLimits().label_bytes
    found = read_files({"a.jpg": b"", "a.txt": b" " * (largest + 1)})
    assert codes(found.all_problems()) == ["file_too_large"]


def test_json_may_hold_its_picture():
    document = {"shapes": [], "imageData": "x" * 300, "imageWidth": 4, "imageHeight": 4}
    files = {"a.jpg": b"", "a.json": json.dumps(document).encode()}
    for label_bytes, expected in ((100, []), (80, ["file_too_large"])):
        limits = DatasetLimits(label_bytes=label_bytes)
        found = read_dataset_labels(files, files.__getitem__, limits=limits)
        assert codes(found.all_problems()) == expected


def test_classes_beyond_the_limit_are_reported_and_not_named():
    rows = "".join(f"{number} .5 .5 .1 .1\n" for number in range(50))
    files = {"a.jpg": b"", "a.txt": rows.encode()}
    limits = DatasetLimits(classes=20)
    found = read_dataset_labels(files, files.__getitem__, limits=limits)
    assert list(found.class_names) == list(range(20))
    (problem,) = found.problems
    assert problem.code == "classes_too_many"
    assert problem.reason == "50 classes; 20 are named (VISIONFLOWS_MAX_CLASSES)"


def test_a_file_for_many_images_may_be_larger_but_not_any_size(tmp_path):
    limits = DatasetLimits(file_bytes=2 << 20)
    path = tmp_path / "coco.json"
    for size in (0, 100, 1 << 20, (1 << 20) + 1, 2 << 20):
        path.write_bytes(b"x" * size)
        with path.open("rb") as stream:
            assert limits.read(stream) == limits.read_file(path) == b"x" * size
    path.write_bytes(b"x" * ((2 << 20) + 1))
    with path.open("rb") as stream, pytest.raises(FileTooLargeError, match="LABEL_FILE_BYTES"):
        limits.read(stream)
    with pytest.raises(FileTooLargeError, match=r"more than 2,097,152 bytes"):
        limits.read_file(path)
    files = {"a.jpg": b"", "coco.json": path.read_bytes()}
    found = read_dataset_labels(files, lambda one: limits.read(io.BytesIO(files[one])))
    assert codes(found.problems) == ["file_too_large"]


def test_all_label_files_together_have_a_limit():
    limits = DatasetLimits(all_label_bytes=100, file_bytes=90)
    limits.check_sum("bay.zip", [60, 40])
    limits.check_sum("bay.zip", [60, 40, 91])  # which is not read
    with pytest.raises(InvalidInputError) as raised:
        limits.check_sum("bay.zip", [60, 41])
    assert str(raised.value) == (
        "The label files of bay.zip have 101 bytes together, more than 100 "
        "(VISIONFLOWS_MAX_ALL_LABEL_BYTES)."
    )


def test_labels_that_memory_does_not_hold_are_refused_before_any_is_read(tmp_path):
    """The same attacks on a folder and on a release, whose texts alone are not held."""
    limits = DatasetLimits(free_memory_bytes=1000)
    limits.check_held("bay.zip", [60, 40])
    long = json.dumps({"shapes": [], "imageWidth": 9, "imageHeight": 9, "x": "y" * 60}).encode()
    attacks = {
        "own": {"a.jpg": b"a", "a.json": long},
        "shared": {"a.jpg": b"a", "instances.json": long},
        "several": {f"{one}{end}": long for one in "ab" for end in (".jpg", ".json")},
    }
    for name, files in attacks.items():
        path = write_zip(tmp_path / f"{name}.zip", files)
        folder = tmp_path / name
        folder.mkdir()
        for one, content in files.items():
            (folder / one).write_bytes(content)
        total = sum(len(content) for one, content in files.items() if one.endswith(".json"))
        expected = (
            f"have {total:,} bytes together, which take about {total * 10:,} bytes of memory, and "
            "1,000 are free; use it in parts, or where there is more."
        )
        with pytest.raises(InvalidInputError) as raised:
            scan_release(path, limits)
        assert str(raised.value) == f"The label files of {path} {expected}"
        with pytest.raises(InvalidInputError) as raised:
            read_folder_labels(folder, scan_image_folder(folder), lambda _: None, limits)
        assert str(raised.value) == f"The label files of {folder} {expected}"
    rows = {"a.jpg": b"a", "a.txt": b"0 .5 .5 .1 .1\n" * 1000}
    found = scan_release(write_zip(tmp_path / "rows.zip", rows), limits)
    assert sum(split.instances for split in found.shapes.splits) == 1000


def test_a_release_has_the_limits_of_its_folder_for_each_label_file(tmp_path):
    shape = {"label": "red", "points": [[1, 1], [5, 5]], "shape_type": "rectangle"}
    document = {"shapes": [shape], "imageWidth": 9, "imageHeight": 9, "imageData": "x" * 300}
    files = {"a.jpg": b"", "a.json": json.dumps(document).encode()}
    path = write_zip(tmp_path / "a.zip", files)
    for label_bytes, expected in ((200, []), (80, ["file_too_large"])):
        limits = DatasetLimits(label_bytes=label_bytes, metadata_bytes=50)
        found = read_dataset_labels(files, files.__getitem__, limits=limits)
        assert codes(found.all_problems()) == expected
        totals = scan_release(path, limits).problem_totals
        assert [one for one in totals if one == "file_too_large"] == expected


def test_free_memory_is_that_of_the_container_where_it_has_less(monkeypatch, tmp_path):
    of_machine = limit_steps.free_memory_bytes()
    assert of_machine > 100 << 20
    monkeypatch.setattr(limit_steps, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert limit_steps.free_memory_bytes() > 100 << 20
    (tmp_path / "memory.max").write_text(f"{50 << 20}\n")
    (tmp_path / "memory.stat").write_text(f"anon {20 << 20}\nfile {90 << 20}\n")
    assert limit_steps.free_memory_bytes() == 30 << 20
    assert limit_steps.dataset_limits_of_memory().free_memory_bytes == 30 << 20


def test_settings_give_the_limits(monkeypatch):
    for name in ("LABEL_BYTES", "LABEL_FILE_BYTES", "ALL_LABEL_BYTES", "CLASSES",
                 "ARCHIVE_MEMBERS", "INFLATED_RATIO"):  # fmt: skip
        monkeypatch.setenv(f"VISIONFLOWS_MAX_{name}", str(len(name)))
    get_settings.cache_clear()
    try:
        assert dataset_limits() == DatasetLimits(
            label_bytes=11, file_bytes=16, all_label_bytes=15, classes=7, members=15, ratio=14
        )
    finally:
        monkeypatch.undo()
        get_settings.cache_clear()
    # Who reads without settings has their defaults.
    assert dataset_limits() == DatasetLimits()


def test_a_label_of_fifty_megabytes_on_one_line_is_not_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "a.txt").write_bytes(b"0" + b" 0.5 0.25" * 5_500_000)
    labels, problems, peak = read_apart(tmp_path)
    assert (labels, problems) == (0, "['file_too_large']")
    assert peak < 300


@pytest.mark.parametrize(("line", "most"), [(b"0 .5 .25 ", 1200), (b"0 .5 .5 .1 .1\n", 2000)])
def test_the_largest_labels_that_are_read_take_memory_one_at_a_time(tmp_path, line, most):
    """Four of them, which a ZIP with a lower ratio than the limit may hold."""
    path = tmp_path / "four.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(4):
            archive.writestr(f"{number}.png", b"x")
            archive.writestr(f"{number}.txt", line * ((16 << 20) // len(line)))
    labels, _, peak = read_apart(path)
    assert labels > 0
    assert peak < most
