"""`runs export`: what a run has found comes back through ingest-project as the same labels."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from storage.errors import InvalidInputError
from storage.inference.kept_counts import count_kept
from tasks.inference.exports.files import ExportFormat
from tasks.inference.exports.steps import export_run, order_export
from tasks.inference.exports.threshold_curve import threshold_curve
from tasks.labels.annotations import Polygon
from tasks.labels.dataset.reading import read_dataset_labels
from tasks.labels.geometry import ImageSize

LOW = 0.2


def read_back(folder: Path) -> dict[str, list]:
    """Class and outline in pixels of every label of a dataset, by the image's name."""
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    dataset = read_dataset_labels(paths, lambda name: (folder / name).read_bytes())
    return {
        one.labels.image.name: [(label.class_name, label.geometry) for label in one.labels.labels]
        for one in dataset.images
        if one.labels is not None
    }


def as_annotated(tasks: bytes) -> bytes:
    """What Label Studio exports where somebody has accepted every prediction as it is."""
    return json.dumps(
        [
            {
                "data": task["data"],
                "annotations": [{"result": one["result"]} for one in task["predictions"]],
            }
            for task in json.loads(tasks)
        ]
    ).encode()


def test_a_run_is_exported_and_comes_back_as_the_same_labels(
    infer, gather, pictures, the_run, polygon_files, result_rows, database, tmp_path, ingested
):
    (pictures / "broken.png").write_bytes(b"no picture")
    gather(pictures)
    infer(0.5)
    run = the_run()
    infer(LOW)
    low, documents = the_run(), polygon_files(the_run())
    names = {str(row["image_id"]): row["name"] for row in result_rows(low)}
    found = {names[image_id]: document for image_id, document in documents.items()}
    exported = {}
    for kind in ExportFormat:
        # The run at 0.5 is written as the one at the lower threshold would be.
        path = tmp_path / f"exported-{kind.value}{kind.suffix}"
        sums = export_run(database, run, order_export(database, run, kind, LOW), path)
        assert (sums.images, sums.left_out) == (6, 1)
        assert sums.objects == sum(low.class_counts.values())
        exported[kind] = path.read_bytes()
        with pytest.raises(InvalidInputError, match="There is a file"):
            export_run(database, run, order_export(database, run, kind), path)
        order = order_export(database, low, kind)
        export_run(database, low, order, path, overwrite=True)
        assert path.read_bytes() == exported[kind]
    assert not list(tmp_path.glob(".*")), "nothing is left of writing"
    assert sum(low.class_counts.values()) > 10
    with pytest.raises(InvalidInputError, match=r"kept down to a confidence of 0\.05"):
        order_export(database, run, ExportFormat.CSV, 0.01)
    with pytest.raises(InvalidInputError, match=r"must end in \.zip"):
        order = order_export(database, run, ExportFormat.YOLO)
        export_run(database, run, order, tmp_path / "labels.txt")

    rows = list(csv.DictReader(io.StringIO(exported[ExportFormat.CSV].decode())))
    assert [row["image"] for row in rows] == [row["name"] for row in result_rows(low)]
    for row in rows:
        if row["image"] == "broken.png":
            assert row["live"] == "" and "broken.png" in row["error"]
            continue
        document = found[row["image"]]
        assert (int(row["live"]), int(row["dead"])) == (
            document["live_count"],
            document["dead_count"],
        )
        assert int(row["objects"]) == len(document["polygons"])

    with database.reading() as connection:
        kept = count_kept(connection, run.id)
    assert (kept.floor_confidence, kept.images) == (0.05, 6)
    curve = threshold_curve(kept.counts, run.class_names)
    for one in (run, low):
        at = {name: steps[round(one.threshold * 1000)] for name, steps in curve.items()}
        assert {name: count for name, count in at.items() if count} == one.class_counts
    assert all(len(steps) == 1001 and steps[-1] == 0 for steps in curve.values())

    for kind, content in exported.items():
        if kind is ExportFormat.CSV:
            continue
        folder = tmp_path / kind.value
        shutil.copytree(pictures, folder)
        (folder / "broken.png").unlink()
        if kind.suffix == ".zip":
            zipfile.ZipFile(io.BytesIO(content)).extractall(folder)
        else:
            is_studio = kind is ExportFormat.LABEL_STUDIO
            (folder / "labels.json").write_bytes(as_annotated(content) if is_studio else content)
        report = ingested(folder, kind.value)
        assert set(report["class_names"].values()) == {"live", "dead"}
        assert {one["code"] for one in report["label_problems"]} <= {"mixed_geometry"}
        labels = read_back(folder)
        assert {name for name, own in labels.items() if own} == {
            name for name, document in found.items() if document["polygons"]
        }
        for name, own in labels.items():
            size = ImageSize(found[name]["image_width"], found[name]["image_height"])
            wanted = [
                (polygon["class"], outline)
                for polygon in found[name]["polygons"]
                for outline in [polygon["coords"], *further_parts(polygon, kind)]
            ]
            assert [class_name for class_name, _ in own] == [one for one, _ in wanted]
            for (_, geometry), (_, coords) in zip(own, wanted, strict=True):
                assert isinstance(geometry, Polygon)
                points = np.array([size.pixel_point(point) for point in geometry.points])
                assert np.abs(points - np.array(coords)).max() < 0.02


def further_parts(polygon: dict, kind: ExportFormat) -> list:
    """Formats that can say that parts belong together have all of them."""
    has_parts = kind in (ExportFormat.COCO, ExportFormat.LABELME)
    return polygon.get("other_parts", []) if has_parts else []
