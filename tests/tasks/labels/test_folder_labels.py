"""Labels of a folder are read once, and handed on only while they are those of its files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tasks.images.folder_scan import scan_image_folder
from tasks.labels.folder_labels import (
    LabelsAtHand,
    read_folder_labels,
    reading_small_files_once,
)
from tests.flows.ingest_project.ingest_samples import yolo_dataset


def test_every_file_is_read_once_while_there_is_room():
    reads: Counter[str] = Counter()

    def read(path: str) -> bytes:
        reads[path] += 1
        return path.encode()

    once = reading_small_files_once(read, room=10)
    paths = ["four", "five5", "sixsix"]
    assert [once(path) for path in paths * 2] == [path.encode() for path in paths * 2]
    assert reads == {"four": 1, "five5": 1, "sixsix": 2}, "nine bytes are kept, six do not fit"
    assert once("sixsix") == b"sixsix" and reads["sixsix"] == 2, "there is room again"


def test_labels_of_a_folder_are_opened_once(tmp_path, monkeypatch):
    folder = yolo_dataset(tmp_path / "source", "abc")
    scan = scan_image_folder(folder)
    opened: Counter[str] = Counter()
    original = open

    def counting(path: str, *options, **more):
        opened[Path(path).name] += 1
        return original(path, *options, **more)

    monkeypatch.setattr("builtins.open", counting)
    found = read_folder_labels(folder, scan, lambda _: None)
    assert sum(len(image.labels.labels) for image in found.images if image.labels) == 6
    assert opened == {"a.txt": 1, "b.txt": 1, "c.txt": 1, "data.yaml": 1}


def test_labels_are_handed_on_once_and_only_for_the_same_files(tmp_path):
    folder = yolo_dataset(tmp_path / "source", "a")
    labels = read_folder_labels(folder, scan_image_folder(folder), lambda _: None)
    hand = LabelsAtHand()
    assert hand.take(folder, "files") is None
    hand.put(folder, "files", labels)
    assert hand.take(folder, "files") is labels
    assert hand.take(folder, "files") is None
    for other in ((folder, "other files"), (tmp_path, "files")):
        hand.put(folder, "files", labels)
        assert hand.take(*other) is None
