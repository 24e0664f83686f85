"""Output for programs: whole lines, CSV, and no bar where nobody looks at it."""

from __future__ import annotations

import csv
import io
import os
import pty
import subprocess
from contextlib import suppress

from storage.database.tables.jobs import JobKind
from storage.jobs.counted import JobCount
from storage.jobs.held import start_job
from tests.end_to_end.conftest import COMMAND

LONG = "a rather long name of a project with many words in it, " * 3 + "and no end"


def test_a_list_is_csv_with_all_that_json_has(invoke, photographs):
    told = invoke("projects", "add", LONG, str(photographs), "--json").json()["project"]
    rows = list(csv.DictReader(io.StringIO(invoke("projects", "list", "--csv").output)))
    assert rows == [
        {name: "{}" if name == "class_names" else str(value) for name, value in told.items()}
    ]
    # The plain list is neither wrapped nor cut where it is piped.
    assert LONG in invoke("projects", "list").output
    assert str(photographs) in invoke("projects", "list").output


def test_csv_of_nothing_is_empty_and_times_are_iso(invoke, database):
    assert invoke("runs", "list", "--csv").output.strip() == ""
    with start_job(database, JobKind.QUALITY_METRICS, "somebody") as job:
        count = JobCount(database, job.reference)
        count.begin(3)
        count.end()
        job.finish({"page": "a, b"})
    (row,) = csv.DictReader(io.StringIO(invoke("status", "--csv").output))
    assert (row["total"], row["processed"], row["result"]) == ("3", "3", '{"page": "a, b"}')
    assert row["created_at"][10] == "T"
    assert row["error_message"] == ""


def read_all(terminal):
    """What a terminal was sent, which it gives in parts of some kilobytes."""
    parts = []
    with suppress(OSError):  # its other end is closed, and nothing is left
        while part := os.read(terminal, 65536):
            parts.append(part)
    return b"".join(parts)


def test_reading_shows_a_bar_only_in_a_terminal(home, photographs):
    command = [str(COMMAND), "projects", "add", "gulls", str(photographs)]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=theirs, env=environment, check=True, text=True
    )
    os.close(theirs)
    shown = read_all(ours).decode()
    os.close(ours)
    assert "Reading gulls" in shown
    assert "5/5" in shown
    assert "Reading" not in done.stdout
    piped = subprocess.run(command, capture_output=True, env=environment, check=True, text=True)
    assert piped.stderr == ""
    assert piped.stdout.startswith("gulls: 5 images")
