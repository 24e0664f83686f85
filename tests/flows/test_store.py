"""What is kept lies in a bucket: a machine with an empty home goes on where another has ended."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import polars
import pytest
from PIL import Image
from sqlalchemy import text

from deployments.web.files.pictures import picture_of_image, thumbnail_in_making
from storage.database.tables.removals import RemovalNoun
from storage.inference.models import add_model
from storage.inference.runs import list_runs
from storage.projects.image_details import find_image
from storage.projects.projects import find_project
from storage.releases import find_release
from storage.removal.removing import plan_removal, remove
from storage.settings import get_settings
from tasks.inference.collection_sources import QuerySource
from tasks.inference.collection_steps import gather_collection
from tasks.inference.runs.steps import describe_model
from tests.flows.ingest_project.ingest_samples import tree, yolo_dataset
from tests.flows.ingest_project.test_interrupted import IN_STAGING, IN_THE_MOVES, killed_at
from tests.flows.labeled_projects import read_set
from tests.tasks.inference.conftest import MUSSELS

GENERATE = {"augmentations": ["hflip"]}


@pytest.fixture
def use(monkeypatch, tmp_path, home):
    """Goes on as another machine: with a home of its own that is empty, and the store."""

    def use(machine, store):
        monkeypatch.setenv("VISIONFLOWS_HOME", str(tmp_path / machine))
        monkeypatch.setenv("VISIONFLOWS_STORE", str(store))
        get_settings.cache_clear()
        return tmp_path / machine

    yield use
    get_settings.cache_clear()


def files_below(place):
    """The sha256 of every object below a URL by the rest of its name."""
    return {
        name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name, _ in place.objects()
    }


def named_by_paths(rows):
    """Rows of quality with paths in the place of ids."""
    paths = {row["project_image_id"]: row["relative_path"] for row in rows}
    own = ("project_id", "project_image_id", "nearest_image_id", "computed_at")
    return [
        {name: row[name] for name in row if name not in own}
        | {"nearest": paths.get(row["nearest_image_id"])}
        for row in rows
    ]


def rows_of_set(result):
    """The rows of every image, whatever its split: the name of the project decides that."""
    splits = read_set(Path(result["output"])).values()
    return {name: rows for images in splits for name, rows in images.items()}


def pictures_in(archive):
    with zipfile.ZipFile(archive) as opened:
        found = [one for one in opened.infolist() if one.filename.endswith((".png", ".webp"))]
        return {Path(one.filename).name: one.CRC for one in found}


def files_of(machine):
    return [path for path in machine.rglob("*") if path.is_file()] if machine.exists() else []


def test_machines_that_share_a_bucket_do_what_one_machine_does(
    ingest, flow_runner, database, image_rows, quality_rows, bucket, object_store, tmp_path, use
):
    from flows.collection_inference import collection_inference
    from flows.create_release import create_release
    from flows.prepare_training_set import prepare_training_set

    source = yolo_dataset(tmp_path / "source")
    # Its decoder works in a process of its own.
    with Image.open(source / "train" / "images" / "a.png") as picture:
        picture.transpose(Image.Transpose.ROTATE_180).save(source / "train" / "images" / "w.webp")
    weights = bucket / "weights" / "mussels.onnx"
    weights.write_bytes((MUSSELS / "mussels.onnx").read_bytes())
    model = add_model(database, describe_model(weights), name=None)
    assert (model.name, model.weights_path) == ("mussels", weights)

    def everything(project):
        """Measure, infer, and make a release and a training set; the results."""
        assert flow_runner(project).is_completed()
        only = QuerySource(projects=(str(find_project(database, project).id),))
        gather_collection(database, project, only, workers=2)
        found = collection_inference(
            collection=project, model="mussels", threshold=0.1, return_state=True
        ).result()
        made = create_release(project=project, name=f"release {project}", return_state=True)
        assert made.is_completed()
        return found, prepare_training_set(projects=[project], return_state=True).result()

    assert ingest(source, "here", generate=GENERATE).is_completed()
    here, set_here = everything("here")
    release_here = find_release(database, "release here").model_path

    # Killed while it stages and while it commits, each on another machine.
    store = bucket / "kept"
    for number, place in enumerate((IN_STAGING, IN_THE_MOVES)):
        use(f"killed {number}", store)
        killed_at(place, source, "far", "yes")
    use("ingests", store)
    assert ingest(source, "far", generate=GENERATE).is_completed()
    assert image_rows("far") == image_rows("here")
    project, original = find_project(database, "far"), find_project(database, "here")
    assert project.path == store / "projects" / str(project.id) / "raw_data"
    assert files_below(project.path) == tree(original.path)
    again = ingest(source, "far", generate=GENERATE).result()[0]
    assert (again["added"], again["changed"], again["unchanged"]) == (0, 0, 7)

    machine = use("works", store)
    # Nothing is known of these contents any more.
    with database.transaction() as connection:
        for table in ("image_quality_metrics", "image_detections"):
            connection.execute(text(f"DELETE FROM {table}"))
    far, set_far = everything("far")

    assert named_by_paths(quality_rows("far")) == named_by_paths(quality_rows("here"))
    assert rows_of_set(set_far) == rows_of_set(set_here)
    release = find_release(database, "release far")
    assert release.model_path == store / "releases" / "release-far.zip"
    assert pictures_in(release.model_path.open("rb")) == pictures_in(release_here)
    run = next(run for run in list_runs(database) if str(run.id) == far["run_id"])
    local = next(run for run in list_runs(database) if str(run.id) == here["run_id"])
    kept = {path.name: json.loads(path.read_bytes()) for path in (store / "runs").glob("*/*/*")}
    polygons = tmp_path / "home" / "runs" / str(local.id) / "polygons"
    assert kept == {path.name: json.loads(path.read_bytes()) for path in polygons.iterdir()}
    assert len(kept) == 14 and all(Path(name).suffix == ".json" for name in kept)

    options = {"aws_endpoint_url": object_store[0], "aws_allow_http": "true"}
    for dataset in ("image_index", "image_quality", "inference_results"):
        newest = f"{store}/snapshots/{dataset}/*/latest.parquet"
        assert len(polars.read_parquet(newest, storage_options=options)) == 14
    assert (store / "reports" / "quality-metrics" / f"{project.id}.html").is_file()
    assert far["page"].startswith(f"{store}/reports/collection-inference/")
    # A training set is for the trainer, which reads disks; everything else is in the store.
    assert {path.relative_to(machine).parts[0] for path in files_of(machine)} <= {
        "training_sets", "exports", "logs",
    }  # fmt: skip

    row = database.rows("SELECT i.id FROM project_images i WHERE project_id = :id", id=project.id)
    small = thumbnail_in_making(
        get_settings(), picture_of_image(find_image(database, row[0][0]))
    ).result()
    assert small.reason is None and len(list((store / "thumbnails").glob("*/*.webp"))) == 1

    for noun, key in (
        (RemovalNoun.RUN, str(run.id)),
        (RemovalNoun.RELEASE, release.name),
        (RemovalNoun.COLLECTION, "far"),
        (RemovalNoun.PROJECT, "far"),
    ):
        remove(database, plan_removal(database, noun, key))
    left = {name.partition("/")[0] for name in files_below(store)}
    assert left <= {"thumbnails", "reports", "snapshots"}
    named = [name for name in files_below(store) if str(project.id) in name or str(run.id) in name]
    assert named == []
