"""`visionflows NOUN remove`: what is said, what is asked, and what is refused."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest

from storage.database.tables.jobs import JobKind
from storage.jobs.held import start_job
from storage.projects.projects import find_project
from tests.end_to_end.conftest import COMMAND


def test_a_linked_project_is_removed_and_its_folder_is_as_it_was(invoke, photographs, database):
    before = sorted(path.name for path in photographs.iterdir())
    invoke("projects", "add", "sea", str(photographs))
    planned = invoke("projects", "remove", "sea", "--json")
    assert planned.status == 1 and "give --yes" in planned.errors
    plan = planned.json(status=1)
    count = len(before)
    assert plan["rows"] == {"project_images": count, "projects": 1}
    assert (plan["noun"], plan["name"], plan["removed"]) == ("project", "sea", False)
    refused = invoke("projects", "remove", "sea")
    assert refused.status == 1 and "give --yes" in refused.errors
    assert f"  {count} rows of project_images\n" in refused.output
    assert f"  the linked folder {photographs}: nothing in it is touched\n" in refused.output
    project = find_project(database, "sea")
    with start_job(database, JobKind.QUALITY_METRICS, str(project.id)) as job:
        at_work = invoke("projects", "remove", "sea", "--yes")
    assert at_work.is_one_sentence() and f"visionflows cancel {str(job.id)[:8]}" in at_work.errors
    removed = invoke("projects", "remove", "sea", "--yes", "--json").json()
    # The job above has ended, and its record goes too.
    assert removed["rows"] == plan["rows"] | {"jobs": 1} and removed["removed"]
    assert invoke("projects", "list", "--json").json() == []
    assert sorted(path.name for path in photographs.iterdir()) == before
    again = invoke("projects", "remove", "sea", "--yes")
    assert again.is_one_sentence() and "There is no project 'sea'" in again.errors


@pytest.mark.parametrize(
    ("noun", "words"),
    [
        ("releases", "no release 'x'"),
        ("collections", "no collection 'x'"),
        ("models", "no model 'x'"),
        ("runs", "'x' is not the id of a run"),
        ("sessions", "no session 'x'"),
        ("training-sets", "no training set 'x'"),
    ],
)
def test_what_nobody_knows_is_not_removed(invoke, noun, words):
    refused = invoke(noun, "remove", "x", "--yes")
    assert refused.is_one_sentence() and words in refused.errors


def test_in_a_terminal_it_is_asked(invoke, photographs):
    invoke("collections", "add", "bay", "--folder", str(photographs))
    for answer, is_removed in ((b"n\n", False), (b"y\n", True)):
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        command = [str(COMMAND), "collections", "remove", "bay"]
        asked = subprocess.run(
            command, stdin=theirs, stdout=theirs, stderr=theirs, timeout=60, check=False
        )
        assert asked.returncode == (0 if is_removed else 1)
        os.close(theirs)
        os.close(ours)
        assert (invoke("collections", "list", "--json").json() == []) is is_removed


def test_training_sets_are_listed(invoke, home):
    assert "prepare-training-set" in invoke("training-sets", "list").output
    folder = home / "training_sets" / "sea-0123"
    folder.mkdir(parents=True)
    (folder / "manifest.parquet").write_bytes(b"x")
    (listed,) = invoke("training-sets", "list", "--json").json()
    assert listed["path"] == str(folder)
    assert "sea-0123" in invoke("training-sets", "list").output
    assert "is removed" in invoke("training-sets", "remove", "sea-0123", "--yes").output
    assert not folder.exists()
