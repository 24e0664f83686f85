"""ingest-project and what people and strangers hand in: HEIF photographs, ZIPs, other folders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from storage.errors import InvalidInputError
from storage.projects.projects import list_projects
from storage.settings import get_settings
from tasks.projects.generated.options import GenerationOptions
from tasks.projects.ingest.plan_steps import make_plan
from tasks.projects.ingest.target_steps import find_target
from tests.flows.ingest_project.ingest_samples import (
    picture,
    tree,
    write,
    yolo_dataset,
    zipped,
)
from tests.places import DATA, ROOT

HEIF = DATA / "heif"
MALFORMED = sorted(
    path for path in (DATA / "zips-yauzl").rglob("*.zip") if path.parent.name != "success"
)


@pytest.fixture
def photographs_of_a_phone(tmp_path: Path) -> Path:
    """HEIF photographs, good and damaged, and a picture that everybody can read."""
    folder = tmp_path / "phone"
    shutil.copytree(HEIF, folder)
    picture(folder / "plain.png", 1)
    return folder


WITHOUT_READER = """
import json, sys
from flows.ingest_project import ingest_project
mixed, heif = (
    ingest_project(source=source, project=f"project {number}", return_state=True)
    for number, source in enumerate(sys.argv[1:])
)
refusal = str(heif.result(raise_on_failure=False))
print(json.dumps([mixed.result()[0]["problems"], heif.is_failed(), refusal]))
"""


def test_heif_without_its_reader_is_left_out_with_what_to_install(
    prefect_client, image_rows, photographs_of_a_phone, tmp_path
):
    # Importing it fails, as where it is not installed; in the processes that decode as well.
    hidden = tmp_path / "hidden"
    write(hidden / "pillow_heif.py", "raise ImportError('not installed')")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_READER, str(photographs_of_a_phone), str(HEIF)],
        env=os.environ | {"PYTHONPATH": f"{hidden}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    problems, is_refused, refusal = json.loads(done.stdout.splitlines()[-1])
    assert [row["relative_path"] for row in image_rows("project 0")] == ["plain.png"]
    left_out = {problem.partition(": ")[0]: problem for problem in problems}
    assert left_out.keys() == {"RGB_8__128x128.heif", "corrupted.heic"}
    for problem in left_out.values():
        assert 'pip install "visionflows[heif]"' in problem
    assert is_refused and 'pip install "visionflows[heif]"' in refusal


def test_heif_with_its_reader_is_ingested_and_damaged_files_are_left_out(
    ingested, image_rows, photographs_of_a_phone
):
    report = ingested(photographs_of_a_phone, "phone")
    rows = {row["relative_path"]: row for row in image_rows("phone")}
    assert rows.keys() == {"RGB_8__128x128.heif", "plain.png"}
    assert (rows["RGB_8__128x128.heif"]["width"], rows["RGB_8__128x128.heif"]["height"]) == (
        128,
        128,
    )
    left_out = {problem.partition(": ")[0] for problem in report["problems"]}
    assert left_out == {"corrupted.heic"}


def test_malformed_archives_are_refused_with_a_sentence(ingest, database, tmp_path, home):
    assert len(MALFORMED) == 25
    folder = tmp_path / "malformed"
    folder.mkdir()
    for path in MALFORMED:
        # Their members are texts; as pictures they are opened and read.
        content = path.read_bytes().replace(b"txt", b"png").replace(b".bin", b".png")
        (folder / path.name).write_bytes(content)
    before = tree(folder)
    for odd in sorted(folder.iterdir()):
        target = find_target(database, odd, "odd", copies=True, generate=GenerationOptions())
        try:
            assert not make_plan(database, target).is_empty
            state = ingest(odd, "odd")
            assert state.is_failed()
            message = str(state.result(raise_on_failure=False))
        except InvalidInputError as error:
            message = str(error)
        assert odd.name in message and message.endswith(".")
    # No text of any of them is a picture, so nothing has become part of anything.
    assert list_projects(database) == []
    assert tree(home / "projects") == {}
    assert tree(folder) == before
    assert {path for path in tmp_path.iterdir() if path not in (home, *home.parents)} == {folder}


def test_an_archive_that_is_an_attack_is_refused_and_an_absurd_name_left_out(
    ingested, refused, image_rows, tmp_path
):
    source = yolo_dataset(tmp_path / "source", "ab")
    content = (source / "train/images/a.png").read_bytes()
    mixed = tmp_path / "mixed.zip"
    for name in ("../outside.png", str(tmp_path / "absolute.png")):
        with zipfile.ZipFile(zipped(source, mixed), "a") as archive:
            archive.writestr(name, content)
        message = refused(mixed)
        assert f"{mixed} is taken for an attack" in message and name in message
    assert not [*tmp_path.rglob("outside.png"), *tmp_path.rglob("absolute.png")]
    with zipfile.ZipFile(zipped(source, mixed), "a") as archive:
        archive.writestr("train/images/../twice.png", content)
    report = ingested(mixed)
    assert len(image_rows("mixed")) == 2
    (problem,) = report["problems"]
    assert problem.startswith("train/images/../twice.png: is no name to use")


def test_orphan_labels_that_fill_a_disk_are_refused(refused, database, home, tmp_path, monkeypatch):
    source = yolo_dataset(tmp_path / "source", "a")
    path = zipped(source, tmp_path / "bomb.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/labels/orphan.txt", bytes(100 << 20))
    message = refused(path)
    assert "'train/labels/orphan.txt' inflates to more than 200 times its size" in message
    write(source / "train/labels/orphan.txt", "0 .5 .5 .1 .1\n" * 10)
    monkeypatch.setenv("VISIONFLOWS_MAX_ALL_LABEL_BYTES", "200")
    get_settings.cache_clear()
    for parameters in ({"mode": "link"}, {"mode": "copy"}):
        message = refused(source, **parameters)
        assert f"The label files of {source} have" in message
        assert message.endswith("bytes together, more than 200 (VISIONFLOWS_MAX_ALL_LABEL_BYTES).")
    assert list_projects(database) == []
    assert tree(home / "projects") == {}


def test_a_source_that_the_disk_has_no_room_for_is_refused_before_it_is_copied(
    ingest, refused, database, home, tmp_path
):
    source = yolo_dataset(tmp_path / "source", "a")
    largest = get_settings().max_image_bytes
    # Files of nothing but a hole, which take no room themselves.
    for number in range(shutil.disk_usage(tmp_path).free // largest + 2):
        with (source / f"train/images/{number}.png").open("wb") as file:
            file.truncate(largest)
    message = refused(source)
    assert f"bytes would be written to {home / 'projects'}, where " in message
    assert message.endswith("Nothing was written.")
    assert list_projects(database) == []
    assert tree(home / "projects") == {}


def test_a_run_from_afar_stays_inside_the_data_roots(
    ingested, refused, database, tmp_path, home, monkeypatch
):
    source = yolo_dataset(tmp_path / "source", "ab")
    inside = home / "incoming"
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "of a test")
    for mode in ("copy", "link"):
        assert "VISIONFLOWS_DATA_ROOTS" in refused(source, mode=mode)
    inside.mkdir(parents=True)
    (inside / "link").symlink_to(source)
    message = refused(inside / "link")
    assert "VISIONFLOWS_DATA_ROOTS" in message and str(source) in message
    assert list_projects(database) == []
    shutil.copytree(source, inside / "source")
    (inside / "source" / "train" / "images" / "c.png").symlink_to(source / "train/images/a.png")
    report = ingested(inside / "source")
    assert report["added"] == 2
    assert report["problems"] == ["train/images/c.png: the link leads out of the folder"]
    monkeypatch.setenv("VISIONFLOWS_DATA_ROOTS", str(tmp_path))
    get_settings.cache_clear()
    assert ingested(source, "outside")["added"] == 2
