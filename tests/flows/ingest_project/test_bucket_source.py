"""ingest-project from a bucket, a prefix or a ZIP in it: the rows are those of the disk."""

from __future__ import annotations

from storage.projects.projects import find_project
from tests.flows.ingest_project.ingest_samples import picture, tree, yolo_dataset, zipped
from tests.flows.ingest_project.test_interrupted import IN_STAGING, IN_THE_MOVES, killed_at


def test_a_prefix_and_a_zip_become_what_their_folder_becomes(
    prefect_client, database, image_rows, bucket, object_store, tmp_path
):
    from flows.ingest_project import ingest_project

    def ingest(source, project, **more):
        return ingest_project(source=str(source), project=project, return_state=True, **more)

    folder = yolo_dataset(tmp_path / "mussels")
    far = bucket / "sets" / "mussels"
    for file in folder.rglob("*"):
        if file.is_file():
            (far / file.relative_to(folder).as_posix()).write_bytes(file.read_bytes())
    (far / ".hidden.png").write_bytes(b"x")
    (bucket / "sets" / "mussels2.png").write_bytes(b"another thing")
    packed = bucket / "packed.zip"
    packed.write_bytes(zipped(folder, tmp_path / "packed.zip").read_bytes())
    for source, project in ((folder, "here"), (far, "far"), (packed, "packed")):
        assert ingest(source, project).is_completed()
    files = tree(find_project(database, "here").path)
    for project in ("far", "packed"):
        assert image_rows(project) == image_rows("here")
        assert tree(find_project(database, project).path) == files

    # Killed while objects are copied, and while what was copied becomes part of the project.
    for place in (IN_STAGING, IN_THE_MOVES):
        killed_at(place, far, "killed")
    assert ingest(far, "killed").is_completed()
    assert image_rows("killed") == image_rows("here")
    assert tree(find_project(database, "killed").path) == files

    # Again: no image is downloaded that is as it was.
    requests = object_store[2]
    requests.clear()
    report = ingest(far, "far").result()[0]
    assert (report["added"], report["changed"], report["unchanged"]) == (0, 0, 6)
    assert [path for method, path in requests if method == "GET" and ".png" in path] == []
    # Another content of the same size is another ETag.
    changed = folder / "train" / "images" / "a.png"
    picture(changed, 99)
    (far / "train" / "images" / "a.png").write_bytes(changed.read_bytes())
    requests.clear()
    assert ingest(far, "far").result()[0]["changed"] == 1
    assert {path for _, path in requests if ".png" in path} == {
        f"/{bucket.parts[1]}/sets/mussels/train/images/a.png"
    }

    for source, words in (
        (bucket / "nothing", "There is no object"),
        (str(bucket) + "x/y", "or no bucket"),
    ):
        state = ingest(source, "other")
        assert state.is_failed() and words in state.message and str(source) in state.message
    assert "can only be copied" in ingest(far, "other", mode="link").message
