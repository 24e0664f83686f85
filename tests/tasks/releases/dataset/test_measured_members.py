"""Members of a release are known again by the names and sizes of measured images."""

from __future__ import annotations

import pyarrow as pa

from tasks.releases.dataset.measured_members import MeasuredImage, find_measured_members
from tasks.releases.statistics import IMAGE_ROWS_SCHEMA

IMAGES = [
    MeasuredImage("frame 1.JPG", "a" * 64, 100, "00"),
    MeasuredImage("frame 2.jpg", "b" * 64, 200, "01"),
    MeasuredImage("copy.jpg", "c" * 64, 300, "02"),
    MeasuredImage("copy.jpg", "c" * 64, 300, "02"),
    MeasuredImage("same.bmp", "d" * 64, 400, "03"),
    MeasuredImage("same.bmp", "e" * 64, 400, "04"),
]


def batch(*rows):
    columns = {
        "member": [row[0] for row in rows],
        "split": [row[0].split("/")[1] for row in rows],
        "file_size": [row[1] for row in rows],
        "crc32": [row[2] for row in rows],
    }
    missing = {
        field.name: pa.nulls(len(rows), field.type)
        for field in IMAGE_ROWS_SCHEMA
        if field.name not in columns
    }
    return pa.RecordBatch.from_pydict({**columns, **missing})


def test_a_member_is_the_image_of_its_name_and_size_where_only_one_content_fits():
    found = find_measured_members(
        [
            batch(
                ("images/train/frame 1.jpg", 100, 1),
                ("images/val/frame 2_bbbbbbbb.jpg", 200, 2),
                ("images/val/frame 2.jpg", 201, 3),
            ),
            batch(
                ("images/val/copy.jpg", 300, 4),
                ("images/val/same.bmp", 400, 5),
                ("images/test/stranger.jpg", 100, 6),
            ),
        ],
        IMAGES,
    )
    assert found.hashes == {
        "images/train/frame 1.jpg": "00",
        "images/val/frame 2_bbbbbbbb.jpg": "01",
        "images/val/copy.jpg": "02",
    }
    assert len(found.members) == len(found.splits) == 6
    assert found.splits[:2] == ["train", "val"]


def test_equal_bytes_in_two_splits_are_told_elsewhere():
    rows = [("images/train/copy.jpg", 300, 4), ("images/val/copy.jpg", 300, 4)]
    assert find_measured_members([batch(*rows)], IMAGES).hashes == {}
    same_split = [("images/val/a/copy.jpg", 300, 4), ("images/val/copy.jpg", 300, 4)]
    assert len(find_measured_members([batch(*same_split)], IMAGES).hashes) == 2
