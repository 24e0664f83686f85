"""The trainer takes a prepared set as it is, and sees exactly what the manifest says."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks.projects.registration_steps import register_project
from tests.flows.labeled_projects import make_river, make_sea, make_yolo
from tests.flows.prepare_training_set import ultralytics_trainer
from tests.places import DATA

ROBOFLOW = DATA / "roboflow-empire"
POSES = [
    f"0 0.5 0.5 0.5 0.5 {x} 0.5 2 1.5 0.5 2" for x in (0.3, 0.4, 0.5, 0.6)
]  # the second keypoint lies outside
ORIENTED = ["0 0.5 0.2 0.7 0.5 0.5 0.8 0.3 0.5", "0 0.1 0.1 0.6 0.1 0.6 0.3 0.1 0.3"] * 2


@pytest.fixture
def prepare(prefect_client, database):
    from flows.prepare_training_set import prepare_training_set

    def run(*folders, **options):
        for folder in folders:
            register_project(database, folder.name, folder, workers=2)
        names = [folder.name for folder in folders]
        state = prepare_training_set(projects=names, return_state=True, **options)
        return state.result(raise_on_failure=True)

    return run


def manifest_of(result):
    return pq.read_table(Path(result["output"]) / "manifest.parquet").to_pylist()


def check_seen(seen, result, names):
    """Compare what the trainer holds with the manifest, image by image."""
    for split in ("train", "val"):
        rows = [row for row in manifest_of(result) if row["split"] == split]
        assert rows != []
        found = seen[split]
        assert (found["total"], found["corrupt"], found["missing"]) == (len(rows), 0, 0)
        empty = sum(row["label_count"] == 0 for row in rows)
        assert (found["found"], found["empty"]) == (len(rows), empty)
        assert set(found["classes"]) == {Path(row["image_path"]).name for row in rows}
        for row in rows:
            classes = found["classes"][Path(row["image_path"]).name]
            assert len(classes) == row["label_count"]
            assert {names[number] for number in classes} == set(row["classes"])


def test_one_epoch_on_a_prepared_set(prepare, tmp_path):
    empire = tmp_path / "empire"
    shutil.copytree(ROBOFLOW, empire)
    # The trainer writes a JPEG without a proper end anew; the original must stay as it is.
    odd = next((empire / "train" / "images").iterdir())
    odd.write_bytes(odd.read_bytes() + b"\0")
    sea, river = make_sea(tmp_path / "sea"), make_river(tmp_path / "river")
    originals = {
        path: path.read_bytes()
        for folder in (empire, sea, river)
        for path in folder.rglob("*")
        if path.is_file()
    }
    detect = prepare(empire, sea, river)
    assert (detect["linked"], detect["copied"]) == (89, 1)
    segment = prepare(river, sea, task="segment")
    oriented = prepare(make_yolo(tmp_path / "oriented", ORIENTED, "names: [boat]\ntask: obb\n"))
    pose_yaml = "names: [person]\nkpt_shape: [2, 3]\n"
    pose = prepare(make_yolo(tmp_path / "pose", POSES, pose_yaml))
    assert [one["report"]["task"] for one in (oriented, pose)] == ["obb", "pose"]

    place = tmp_path / "ultralytics"
    place.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, ultralytics_trainer.__file__, place, detect["output"]),
            *("segment", segment["output"], "obb", oriented["output"], "pose", pose["output"]),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trained, segments, boxes, poses = json.loads(done.stdout.splitlines()[-1])

    names = ["Empire-State-building", "Fish", "Mussel", "otter"]
    assert trained["names"] == {str(number): name for number, name in enumerate(names)}
    check_seen(trained, detect, names)
    labels = Counter(
        names[number]
        for split in ("train", "val")
        for classes in trained[split]["classes"].values()
        for number in classes
    )
    reported = {
        share["name"]: sum(share["labels"].values()) for share in detect["report"]["classes"]
    }
    assert labels == reported == {
        "Empire-State-building": 73, "Fish": 8, "Mussel": 7, "otter": 3
    }  # fmt: skip
    messages = trained["train"]["messages"] + trained["val"]["messages"]
    assert len(messages) == 1
    assert "corrupt JPEG restored" in messages[0]
    assert trained["epochs"] == 1
    assert trained["weights"]
    assert len(trained["losses"]) == 6, "box, class and dfl, in training and validation"
    assert all(math.isfinite(loss) for loss in trained["losses"])

    check_seen(segments, segment, ["Mussel", "otter", "Fish"])
    assert segments["train"]["segments"] + segments["val"]["segments"] == 18
    check_seen(boxes, oriented, ["boat"])
    assert boxes["train"]["segments"] == 3
    check_seen(poses, pose, ["person"])
    assert poses["train"]["keypoints"] == [[1, 2, 3]] * 3
    for seen in (segments, boxes, poses):
        assert seen["train"]["messages"] == seen["val"]["messages"] == []

    assert {path: path.read_bytes() for path in originals} == originals
