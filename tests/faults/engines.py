"""The commands of docs/running.md: a run on a cluster of two workers, of which one is killed.

    python -m pytest tests/faults/engines.py

A part of `make soak`: a cluster and its workers take a minute of two cores.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from sqlalchemy import text

from deployments.server.processes import free_port
from storage.database.tables.jobs import JobStatus
from storage.jobs.records import list_jobs
from tasks.quality.pixels.measurements import measure_content
from tests.end_to_end.conftest import command as command
from tests.end_to_end.local_stack import wait_for
from tests.places import ROOT

MANY = 100


@pytest.fixture
def pictures(tmp_path):
    """Files so large that they are two chunks, and quickly measured: nothing is compressed."""
    folder = tmp_path / "mussels"
    folder.mkdir()
    noise = np.random.default_rng(5).integers(0, 256, (1000, 1000, 3), np.uint8)
    for number in range(MANY):
        moved = np.roll(noise, 37 * number, axis=0)
        cv2.imwrite(str(folder / f"{number}.png"), moved, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    return folder


def documented_commands(engine, port):
    """The three lines of the page about an engine, for this machine."""
    page = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"```\n({engine} .*?)```", page, re.DOTALL)
    lines = [re.sub(r"10\.0\.0\.5", "127.0.0.1", line) for line in block.splitlines()]
    assert len(lines) == 3
    return [re.sub(r"\b(8786|6379)\b", str(port), line) for line in lines]


@contextmanager
def running(line, folder, name):
    """A line of the page in a session of its own, whose processes end with it."""
    with (folder / f"{name}.log").open("wb") as words:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            stdout=words, stderr=words, cwd=folder, start_new_session=True,
        )  # fmt: skip
    try:
        yield psutil.Process(process.pid)
    finally:
        kill_all(psutil.Process(process.pid))
        process.wait(timeout=30)


def kill_all(process):
    """Kill a process and all below it as a machine dies that loses its power."""
    try:
        every = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for one in every:
        with suppress(psutil.NoSuchProcess):
            one.kill()


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_worker_of_a_cluster_is_killed_and_the_results_are_those_of_one_process(
    engine, command, database, pictures, tmp_path, monkeypatch
):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", uuid.uuid4().hex)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    command.run("projects", "add", "mussels", str(pictures))
    port = free_port(28786)
    first, second, run = documented_commands(engine, port)
    with ExitStack() as started:
        started.enter_context(running(first, tmp_path, "first"))
        wait_for(lambda: is_open(port), "the cluster listens", 60)
        joined = {"dask": "Registered to:", "ray": "Ray runtime started"}[engine]
        machines = []
        for name in ("one", "two"):  # two of Ray that begin at once take the same ports
            machines.append(started.enter_context(running(second, tmp_path, name)))
            has_joined = partial(is_said, tmp_path / f"{name}.log", joined)
            wait_for(has_joined, "a worker has joined", 60)
        process = subprocess.Popen(
            ["bash", "-c", f"{run} --batch-size 1"],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

        def chunks_begun():
            if process.poll() is not None:
                raise AssertionError(process.communicate()[0])
            return [
                row[0] for row in database.rows("SELECT position FROM job_chunks WHERE attempt > 0")
            ]

        wait_for(lambda: any(chunks_begun()), "some pictures are measured", 120)
        with database.transaction() as connection:
            # Whoever stores something waits, so that both workers are at work.
            connection.execute(text("LOCK TABLE image_quality_metrics IN SHARE MODE"))
            wait_for(lambda: len(chunks_begun()) == 2, "both have a chunk", 60)
            kill_all(machines[0])
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    (job,) = list_jobs(database)
    assert (job.status, job.processed, job.total) == (JobStatus.COMPLETED, MANY, MANY)
    attempts = {row[0] for row in database.rows("SELECT attempt FROM job_chunks")}
    assert attempts == {1, 2}, "what was killed was taken up by the other"
    rows = database.rows(
        "SELECT relative_path, sharpness, brightness, contrast, perceptual_hash FROM image_quality"
    )
    assert len(rows) == MANY
    for name, *values in rows:
        alone = measure_content((pictures / name).read_bytes())
        assert values == [
            *(alone.sharpness, alone.brightness, alone.contrast, alone.perceptual_hash)
        ]


def is_said(log, words):
    return words in log.read_text(errors="replace")


def is_open(port):
    return any(
        one.status == psutil.CONN_LISTEN and one.laddr.port == port
        for one in psutil.net_connections("tcp")
    )
