"""What the trainer keeps, against the trainer itself."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.inference.model.quiet_ultralytics import import_ultralytics
from tasks.labels.annotations import GeometryKind
from tasks.labels.formats.yolo.geometry import YoloGeometry
from tasks.labels.formats.yolo.numbers import LabelRows, merge_rows, parse_label_files
from tasks.labels.formats.yolo.rows import judge_rows
from tasks.releases.labels.trainer_view import keep_as_trainer, read_like_trainer

CLASS_COUNT = 3
CLASSES = st.sampled_from(["0", "1", "2", "0.0", "3", "1.5", "-1", "cat", "-0.0"])
VALUES = st.sampled_from(
    ["0.1", "0.25", ".5", "0.75", "1", "0", "-0.005", "-0.1", "1.2", "1.01", "1.005", "0.10",
     "1.0100001"]
)  # fmt: skip
LENGTHS = st.sampled_from([4, 4, 4, 4, 2, 3, 5, 6, 8, 10])
ROWS = st.builds(
    lambda name, values, length: " ".join([name, *values[:length]]),
    CLASSES,
    st.lists(VALUES, min_size=10, max_size=10),
    LENGTHS,
)
SOUND_ROWS = st.builds(
    lambda name, values, length: " ".join(
        [str(name), *(f"{value / 8}" for value in values[:length])]
    ),
    st.integers(0, 2),
    st.lists(st.integers(0, 8), min_size=10, max_size=10),
    st.sampled_from([4, 6, 8, 10]),
)
FILES = st.one_of(
    st.lists(SOUND_ROWS, max_size=5).map("\n".join),
    st.lists(ROWS, max_size=4).map("\n".join),
    st.lists(ROWS | SOUND_ROWS, max_size=4).map("\r\n".join),
    st.sampled_from(["\ufeff0 .5 .5 .1 .1", "0 nan .5 .1 .1", "# x\n0 .5 .5 .1 .1",
                     "0 .5 .5 .1 .1\x0c1 .5 .5 .1 .1"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def verify(tmp_path_factory):
    """`verify_image_label` of Ultralytics."""
    import_ultralytics(tmp_path_factory.mktemp("ultralytics"))

    from ultralytics.data.utils import verify_image_label

    return verify_image_label


def ours(texts, keypoint_shape):
    contents = [text.encode() for text in texts]
    rows, irregular = parse_label_files(contents)
    more = []
    readable = np.ones(len(contents), bool)
    for file in irregular:
        found = read_like_trainer(contents[file])
        readable[file] = found is not None
        more += [(file, 0, values) for values in found or ()]
    rows = merge_rows(rows, more)
    kept = keep_as_trainer(
        rows,
        len(contents),
        class_count=CLASS_COUNT,
        keypoint_values=5 + keypoint_shape[0] * keypoint_shape[1] if keypoint_shape else None,
        dimensions=keypoint_shape[1] if keypoint_shape else 3,
    )
    classes = rows.values[rows.firsts]
    return [
        Counter(classes[kept.is_row_kept & (rows.files == file)].tolist())
        if kept.is_file_kept[file] and readable[file]
        else None
        for file in range(len(contents))
    ]


def theirs(verify, folder, texts, keypoint_shape):
    image = folder / "a.jpg"
    if not image.exists():
        Image.new("RGB", (16, 16)).save(image)
    result = []
    points, dimensions = keypoint_shape or (0, 0)
    for text in texts:
        label = folder / "a.txt"
        label.write_bytes(text.encode())
        arguments = (
            str(image),
            str(label),
            "",
            bool(points),
            CLASS_COUNT,
            points,
            dimensions,
            False,
        )
        found = verify(arguments)
        result.append(None if found[0] is None else Counter(found[1][:, 0].tolist()))
    return result


@pytest.mark.parametrize("keypoint_shape", [None, (2, 3), (3, 2)])
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(FILES, min_size=1, max_size=4))
def test_the_trainer_agrees(verify, tmp_path, keypoint_shape, texts):
    assert ours(texts, keypoint_shape) == theirs(verify, tmp_path, texts, keypoint_shape)


COORDINATES = st.integers(0, 10_000).map(lambda number: f"{number / 10_000:.4f}")
KEYPOINT = st.tuples(COORDINATES, COORDINATES, st.sampled_from(["0", "1", "2"]))
# The values behind the class, as rows of each task have them.
VALUES_OF_TASK = {
    "detect": st.lists(COORDINATES, min_size=4, max_size=4),
    # A point that is there again at the end does not count for us: of three, two would be left.
    "segment": st.integers(3, 6)
    .flatmap(lambda points: st.lists(COORDINATES, min_size=2 * points, max_size=2 * points))
    .filter(lambda row: row[:2] != row[-2:]),
    "obb": st.lists(COORDINATES, min_size=8, max_size=8),
    "pose": st.tuples(
        st.lists(COORDINATES, min_size=4, max_size=4), st.lists(KEYPOINT, min_size=2, max_size=2)
    ).map(lambda parts: [*parts[0], *(value for point in parts[1] for value in point)]),
}
GEOMETRY_OF_TASK = {
    "detect": YoloGeometry(GeometryKind.BOX),
    "segment": YoloGeometry(GeometryKind.POLYGON),
    "obb": YoloGeometry(GeometryKind.ORIENTED_BOX),
    "pose": YoloGeometry(GeometryKind.KEYPOINTS, (2, 3)),
}


@pytest.mark.parametrize("task", list(VALUES_OF_TASK))
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_the_boxes_are_those_of_the_trainer(verify, tmp_path, task, data):
    values = data.draw(st.lists(VALUES_OF_TASK[task], min_size=1, max_size=4))
    text = "\n".join(f"{number % CLASS_COUNT} {' '.join(row)}" for number, row in enumerate(values))
    Image.new("RGB", (16, 16)).save(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text(text)
    places = str(tmp_path / "a.jpg"), str(tmp_path / "a.txt")
    shape = (2, 3) if task == "pose" else (0, 0)
    found = verify((*places, "", task == "pose", CLASS_COUNT, *shape, False))
    assert found[0] is not None, "nothing in these rows is wrong"
    rows, irregular = parse_label_files([text.encode()])
    assert len(irregular) == 0
    judged = judge_rows(rows, GEOMETRY_OF_TASK[task], None)
    counted = judged.is_usable & ~judged.repeats
    own = np.column_stack((judged.classes, judged.boxes))[counted]
    theirs = found[1].astype(float)
    assert own.shape == theirs.shape
    order = np.lexsort(np.round(own, 5).T), np.lexsort(np.round(theirs, 5).T)
    assert np.allclose(own[order[0]], theirs[order[1]], atol=1e-6)


def test_hand_computed():
    rows, _ = parse_label_files(
        [b"0 .5 .5 .1 .1\n0 .5 .5 .1 .1\n", b"0 .5 .5 .1 .1\n0 1.5 .5 .1 .1\n", b"", b"0 .5 .5 .1"]
    )
    kept = keep_as_trainer(rows, 4, class_count=1, keypoint_values=None)
    assert kept.is_file_kept.tolist() == [True, False, True, False]
    assert kept.is_row_kept.tolist() == [True, False, False, False, False]


def test_no_rows_at_all():
    empty = np.empty(0, np.int64)
    rows = LabelRows(np.empty(0), empty, empty, empty, empty)
    assert keep_as_trainer(rows, 2, class_count=1, keypoint_values=None).is_file_kept.all()
