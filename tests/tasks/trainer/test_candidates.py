"""Which images can be trained with, and why the others cannot."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from tasks.images.folder_scan import FoundFile
from tasks.labels.annotations import ImageLabels
from tasks.labels.dataset.addresses import Split
from tasks.labels.dataset.reading import DatasetImage
from tasks.labels.formats.registry import LabelFormat
from tasks.trainer.candidates import LeftOutReason, select_candidates, trainer_suffix
from tests.tasks.trainer.candidate_samples import known, label


def select(image, file=FoundFile("a.jpg", 1000, 5), *, is_labeled=True):  # noqa: B008 - frozen
    path = PurePosixPath("a.jpg")
    labels = ImageLabels(path, PurePosixPath("a.txt"), (label("fish"),)) if is_labeled else None
    found = DatasetImage(path, Split.VAL, labels, LabelFormat.YOLO)
    return select_candidates(
        "sea", [image], {} if file is None else {"a.jpg": file}, {"a.jpg": found}
    )


def test_an_image_with_its_file_and_labels_is_a_candidate():
    (one,), left_out = select(known("a.jpg", format="JPEG"))
    assert left_out == []
    assert (one.key, one.split, one.suffix) == ("sea/a.jpg", Split.VAL, ".jpg")
    assert (one.width, one.height) == (640, 480)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"state": "missing"}, LeftOutReason.CHANGED),
        ({"file_size": 999}, LeftOutReason.CHANGED),
        ({"modified_at_ns": 6}, LeftOutReason.CHANGED),
        ({"failure": "a.jpg: ends too early"}, LeftOutReason.UNREADABLE),
        ({"width": None, "format": None}, LeftOutReason.UNREADABLE),
        ({"format": "GIF"}, LeftOutReason.FORMAT),
        ({"height": 9}, LeftOutReason.TOO_SMALL),
    ],
)
def test_why_an_image_is_left_out(facts, reason):
    candidates, (left_out,) = select(known("a.jpg", **facts))
    assert candidates == []
    assert (left_out.relative_path, left_out.reason) == ("a.jpg", reason)
    assert left_out.detail == facts.get("failure", left_out.detail)


def test_missing_files_and_labels():
    assert select(known("a.jpg"), None)[1][0].reason is LeftOutReason.MISSING
    left_out = select(known("a.jpg"), is_labeled=False)[1]
    assert left_out[0].reason is LeftOutReason.NO_LABEL_FILE
    outside, reasons = select_candidates(
        "sea", [known("b.jpg")], {"b.jpg": FoundFile("b.jpg", 1000, 5)}, {}
    )
    assert outside == []
    assert reasons[0].reason is LeftOutReason.NO_LABEL_FILE


def test_a_writer_that_compares_contents_takes_images_as_they_were_registered():
    images = [known("a.jpg"), known("gone.jpg", state="missing"), known("small.jpg", width=9)]
    candidates, left_out = select_candidates("sea", images, None, {}, with_unlabelled=True)
    assert [one.registered.relative_path for one in candidates] == ["a.jpg"]
    assert not candidates[0].has_label_file and not candidates[0].lost_labels
    assert [one.reason for one in left_out] == [LeftOutReason.MISSING, LeftOutReason.TOO_SMALL]
    assert select(known("a.jpg"))[0][0].has_label_file


def test_the_registered_split_counts_before_that_of_the_folder():
    assert select(known("a.jpg", split="test"))[0][0].split is Split.TEST
    assert select(known("a.jpg", split="valid"))[0][0].split is Split.VAL


@pytest.mark.parametrize(
    ("path", "image_format", "suffix"),
    [
        ("a.JPG", "JPEG", ".jpg"),
        ("a.jpeg", "JPEG", ".jpeg"),
        ("a.jfif", "JPEG", ".jpg"),
        ("a.png", "JPEG", ".jpg"),
        ("a.jpg", "MPO", ".jpg"),
        ("a.tiff", "TIFF", ".tiff"),
        ("a.heic", "HEIF", ""),
        ("a.jpg", "PPM", ""),
        ("a.webp", "WEBP", ".webp"),
    ],
)
def test_the_content_decides_what_a_file_is_called(path, image_format, suffix):
    assert trainer_suffix(path, image_format) == suffix
