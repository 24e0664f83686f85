"""The start of a stack beside what others run, or have left."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deployments.server.processes import free_port, listens
from deployments.server.stack import Stack
from deployments.server.state import ProcessIdentity, StackState, write_stack_state
from storage.errors import VisionflowsError
from storage.settings import get_settings


class Healthy(BaseHTTPRequestHandler):
    """Says that all is well, whatever it is asked."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def healthy_server(port=0):
    """The port of a server that is healthy."""
    with ThreadingHTTPServer(("127.0.0.1", port), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def killed_stack(home):
    """A stack that was ready when its `up` was killed, and whose server still answers."""
    with healthy_server() as port:
        yield state_of_killed_stack(port)


def state_of_killed_stack(port):
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    state = StackState(
        mark="of a test",
        supervisor=ProcessIdentity.of(ended.pid),
        url=f"http://127.0.0.1:{port}",
        ready=True,
        processes={"server": ProcessIdentity.of(os.getpid())},
    )
    write_stack_state(get_settings(), state)
    assert state.is_looked_after() and state.answers()
    ended.kill()
    ended.communicate()
    return state


def test_a_killed_stack_that_still_answers_is_not_taken_for_the_new_one(
    killed_stack, database, invoke, monkeypatch, tmp_path
):
    assert "The stack was killed" in invoke("status").output
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho first words\necho 'last \033[31mwords'\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    told = invoke("up", "--detach")
    assert told.status == 1 and told.output == ""
    assert told.errors == ("Error: The stack did not start:\nfirst words\nlast \\x1b[31mwords\n")


def test_a_server_that_has_taken_the_port_meanwhile_is_not_taken_for_ours(
    database, home, monkeypatch
):
    monkeypatch.setenv("VISIONFLOWS_STACK_PORT", str(free_port(24400)))
    get_settings.cache_clear()
    told = []
    stack = Stack(get_settings(), told.append)
    monkeypatch.setattr(stack, "_apply", lambda: told.append("applied to another server"))
    port = int(stack.state.url.rpartition(":")[2])
    prefect_home = home / "prefect"
    prefect_home.mkdir(parents=True)
    monkeypatch.setenv("PREFECT_HOME", str(prefect_home))
    with healthy_server(port):
        assert listens(os.getpid(), port) and not listens(os.getpid(), port + 1)
        try:
            with pytest.raises(VisionflowsError, match=f"(?s)ended at its start.*{port}"):
                stack.start()
        finally:
            stack.stop()
    assert told == []
