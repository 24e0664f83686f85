"""The processes of the stack: what they are told, and when one has ended."""

from __future__ import annotations

import socket
from pathlib import Path

from deployments.server.processes import settings_as_environment
from deployments.server.state import ProcessIdentity
from storage.settings import Settings, TaskRunnerKind
from tests.storage.processes import read_line, start_python


def test_settings_that_were_given_reach_the_processes_as_they_are(monkeypatch):
    monkeypatch.delenv("VISIONFLOWS_SERVER_IDLE_MINUTES")
    given = Settings(
        home=Path("/a b/ä"),
        data_roots=(Path("/data/one"), Path("/data/two and a half")),
        schedules={"quality-nightly": "0 3 * * *"},
        task_runner=TaskRunnerKind.DASK,
        workers=3,
        max_image_seconds=1.5,
    )
    told = settings_as_environment(given)
    assert set(told) == {
        f"VISIONFLOWS_{name}"
        for name in ("HOME", "DATA_ROOTS", "SCHEDULES", "TASK_RUNNER", "WORKERS")
    } | {"VISIONFLOWS_MAX_IMAGE_SECONDS"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert Settings() == given


# A server with threads at work and memory to give back, which does not end in one instant.
SERVER = """
import hashlib, socket, threading, time
listening = socket.create_server(("127.0.0.1", 0))
memory, block = bytearray(200 << 20), bytes(1 << 24)
def work():
    while True:
        hashlib.sha256(block).digest()
for _ in range(8):
    threading.Thread(target=work, daemon=True).start()
print(listening.getsockname()[1], flush=True)
time.sleep(100)
"""


def test_a_killed_process_runs_until_nothing_is_held_by_it_any_more():
    for _ in range(3):
        process = start_python(SERVER)
        port = int(read_line(process))
        identity = ProcessIdentity.of(process.pid)
        process.kill()
        while identity.find() is not None:
            pass
        socket.create_server(("127.0.0.1", port)).close()
        process.communicate()
