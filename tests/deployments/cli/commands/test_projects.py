"""`visionflows projects`: what it says and what it prints for programs."""

from __future__ import annotations

import csv
import io
import os
import subprocess

import pytest

from storage.projects.projects import add_project
from tests.end_to_end.conftest import COMMAND


def test_adding_looking_again_and_listing(invoke, photographs):
    added = invoke("projects", "add", "gulls", str(photographs))
    assert added.status == 0
    assert (
        f"gulls: 5 images in {photographs} (5 new, 0 changed, 0 moved, 0 returned, 0 gone missing)."
        in added.output
    )
    again = invoke("projects", "add", "gulls", str(photographs))
    assert "(0 new, 0 changed, 0 moved, 0 returned, 0 gone missing)" in again.output

    listed = invoke("projects", "list")
    assert listed.status == 0
    header, row = listed.output.splitlines()
    assert header.split() == ["project", "images", "labeled", "missing", "folder"]
    assert row.split()[:4] == ["gulls", "5", "0", "0"]


def test_for_programs_both_print_json(invoke, photographs):
    (photographs / "out.jpg").symlink_to("/etc/hostname")
    told = invoke("projects", "add", "gulls", str(photographs), "--json").json()
    assert set(told) == {"project", "counts", "problems", "label_problems"}
    nothing = dict.fromkeys(("changed", "moved", "returned", "missing", "relabeled"), 0)
    assert told["counts"] == {"added": 5} | nothing
    assert told["problems"] == ["out.jpg: the link leads out of the folder"]
    listed = invoke("projects", "list", "--json").json()
    assert listed == [told["project"]]
    assert set(listed[0]) == {
        *("id", "name", "path", "image_count", "missing_count", "labeled_count", "class_names")
    }
    assert listed[0]["path"] == str(photographs)


def test_quality_is_a_row_for_each_image_for_programs(invoke, database, photographs):
    add_project(database, "empty", photographs.parent / "empty")
    names = invoke("projects", "quality", "empty", "--csv").output.splitlines()
    assert len(names) == 1
    assert {"relative_path", "sharpness", "issues", "nearest_distance"} < set(names[0].split(","))
    assert invoke("projects", "quality", "empty", "--json").json() == []
    invoke("projects", "add", "gulls", str(photographs))
    rows = list(csv.DictReader(io.StringIO(invoke("projects", "quality", "gulls", "--csv").output)))
    assert {row["relative_path"] for row in rows} == {
        path.relative_to(photographs).as_posix() for path in photographs.rglob("*.*")
    }
    assert {(row["status"], row["sharpness"]) for row in rows} == {("pending", "")}
    told = invoke("projects", "quality", "gulls", "--json").json()
    assert [set(row) for row in told] == [set(names[0].split(","))] * 5
    assert "gulls has 5 images, 0 measured" in invoke("projects", "quality", "gulls").output


def test_without_projects_the_list_says_how_to_add_one(invoke):
    assert "visionflows run ingest-project SOURCE" in invoke("projects", "list").output
    assert invoke("projects", "list", "--json").json() == []


def test_what_is_left_out_is_told_ten_times_at_most(invoke, photographs):
    for number in range(13):
        (photographs / f"{number:02}.jpg").symlink_to("/etc/hostname")
    added = invoke("projects", "add", "gulls", str(photographs))
    told = added.errors.splitlines()
    assert told[0] == "Left out: 00.jpg: the link leads out of the folder"
    assert len(told) == 11
    assert told[-1] == "... and 3 more; --all-rows shows them."


def test_losses_are_accepted_only_when_told_so(invoke, photographs):
    invoke("projects", "add", "gulls", str(photographs))
    (photographs / "broken.jpg").unlink()
    refused = invoke("projects", "add", "gulls", str(photographs))
    assert refused.status == 1
    assert refused.is_one_sentence(), refused
    assert "1 of 5 images" in refused.errors and "--accept-losses" in refused.errors
    accepted = invoke("projects", "add", "gulls", str(photographs), "--accept-losses")
    assert "1 gone missing" in accepted.output


@pytest.mark.parametrize("name", ["[red]gulls[/red]", "[/nothing]", "[link=x]y", "\\[b]"])
def test_names_are_shown_as_they_are_and_never_as_markup(invoke, tmp_path, name):
    folder = tmp_path / "folder [bold]"
    folder.mkdir()
    (folder / "a.jpg").touch()
    (folder / "[link=file].jpg").symlink_to("/etc/hostname")
    added = invoke("projects", "add", name, str(folder))
    assert added.status == 0
    assert f"{name}: 1 images in {folder}" in added.output
    assert "Left out: [link=file].jpg: the link" in added.errors
    # A long path goes on in the next line.
    listed = "".join(invoke("projects", "list").output.split())
    assert name in listed and "".join(str(folder).split()) in listed


def test_a_name_cannot_command_the_terminal_or_break_a_line(invoke, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.jpg").touch()
    (folder / "clear\x1b[2J\nscreen.jpg").symlink_to("/etc/hostname")
    added = invoke("projects", "add", "p", str(folder))
    assert "\x1b[2J" not in added.errors
    assert added.errors == (
        "Left out: clear\\x1b[2J\\nscreen.jpg: the link leads out of the folder\n"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_the_terminal_cannot_show_is_spelled_out(home, tmp_path, encoding, options):
    folder = tmp_path / "Möwen"
    folder.mkdir()
    (folder / "a.jpg").touch()
    (folder / os.fsdecode(b"\xff.jpg")).touch()
    done = subprocess.run(
        [COMMAND, "projects", "add", "Möwen", folder, *options],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ("Möwen" in done.stdout.decode(encoding)) == (encoding == "utf-8")
