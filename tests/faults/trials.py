"""One trial: a flow is disturbed at an instant, and the next run must make up for it."""

from __future__ import annotations

import difflib
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import psutil
import psycopg

from tests.faults.laboratory import Laboratory, kill

# A look a second, a batch, the end of Prefect's run, and a machine that is busy.
_CANCEL_SECONDS = 20.0
_END_SECONDS = 180.0

Process = subprocess.Popen[str]


def _kill_flow(_: Laboratory, process: Process, __: random.Random) -> None:
    kill(psutil.Process(process.pid))


def _kill_server(laboratory: Laboratory, _: Process, __: random.Random) -> None:
    if server := laboratory.shared_server:
        kill(psutil.Process(server.process.pid))


def _kill_backend(laboratory: Laboratory, _: Process, chance: random.Random) -> None:
    query = "SELECT pid FROM pg_stat_activity WHERE datname = 'visionflows'"
    with psycopg.connect(laboratory.postgresql.url("postgres")) as connection:
        found = connection.execute(query).fetchall()
    # Not while connected: the server ends every session with the one that is killed.
    if found:
        kill(psutil.Process(chance.choice(found)[0]))


def _kill_postgresql(laboratory: Laboratory, _: Process, __: random.Random) -> None:
    postmaster = laboratory.postmaster()
    for process in (postmaster, *postmaster.children(recursive=True)):
        kill(process)


def _kill_worker(laboratory: Laboratory, _: Process, __: random.Random) -> None:
    worker = psutil.Process(laboratory.stack.state.processes["worker"].pid)
    # As when the machine goes down: nothing of its runs is left either.
    for process in (worker, *worker.children(recursive=True)):
        kill(process)


def _kill_part(name: str) -> Callable[[Laboratory, Process, random.Random], None]:
    return lambda laboratory, _, __: laboratory.stack.kill(name)


def _signal(number: signal.Signals) -> Callable[[Laboratory, Process, random.Random], None]:
    return lambda _, process, __: process.send_signal(number)


def _cancel_by_command(laboratory: Laboratory, _: Process, __: random.Random) -> None:
    if jobs := laboratory.jobs():
        # It says so with another status when the job has ended meanwhile.
        command = [laboratory.stack, "cancel", str(jobs[-1]["id"])]
        try:
            command[0].run(*command[1:])
        except AssertionError as error:
            assert "Traceback" not in str(error), error


def _cancel_in_prefect(laboratory: Laboratory, _: Process, __: random.Random) -> None:
    server, jobs = laboratory.shared_server, laboratory.jobs()
    if server and jobs and jobs[-1]["flow_run_id"]:
        name, _, password = server.auth.partition(":")
        url = f"{server.api_url}/flow_runs/{jobs[-1]['flow_run_id']}/set_state"
        state = {"type": "CANCELLING", "name": "Cancelling"}
        httpx.post(url, json={"state": state}, auth=(name, password), trust_env=False, timeout=30)


def _cancel_on_the_page(laboratory: Laboratory, _: Process, __: random.Random) -> None:
    if jobs := laboratory.jobs():
        url = f"{laboratory.stack.state.web_url}/api/v1/jobs/{jobs[-1]['id']}/cancel"
        answer = httpx.post(url, trust_env=False, timeout=60)
        assert answer.status_code < 500, answer.text


KILLS = {
    "flow": _kill_flow,
    "server": _kill_server,
    "backend": _kill_backend,
    "postgresql": _kill_postgresql,
}
CANCELS = {
    "ctrl-c": _signal(signal.SIGINT),
    "sigterm": _signal(signal.SIGTERM),
    "cancel command": _cancel_by_command,
    "cancel in Prefect": _cancel_in_prefect,
}
OF_THE_STACK = {
    "worker": _kill_worker,
    "stack's server": _kill_part("server"),
    "web": _kill_part("web"),
}
CANCELS_OF_THE_STACK = {"cancel by HTTP": _cancel_on_the_page}
ALL = KILLS | CANCELS | OF_THE_STACK | CANCELS_OF_THE_STACK


@dataclass(frozen=True)
class Outcome:
    """What came of a trial; `wrong` is empty where all was as it must be."""

    flow: str
    victim: str
    instant: float
    was: str
    wrong: str


def try_once(laboratory: Laboratory, flow: str, victim: str, chance: random.Random) -> Outcome:
    """Disturb a flow at a random instant of its work, run it again, and compare."""
    if flow not in laboratory.undisturbed:
        laboratory.learn(flow)
    instant = chance.random() * laboratory.seconds[flow]
    laboratory.reset()
    was, wrong = "-", ""
    try:
        was = _disturb(laboratory, flow, victim, instant, chance)
        laboratory.postgresql.start_again()
        laboratory.finish(flow)
        _compare(laboratory, flow)
    except AssertionError as error:
        wrong = str(error)
    return Outcome(flow, victim, instant, was, wrong)


def _disturb(
    laboratory: Laboratory, flow: str, victim: str, instant: float, chance: random.Random
) -> str:
    process = laboratory.start(flow)
    try:
        while not laboratory.jobs() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(instant)
        ended_before = process.poll() is not None
        began = time.monotonic()
        ALL[victim](laboratory, process, chance)
        if victim == "worker":
            # It waits for a run whose process has gone, which Prefect notices after minutes.
            kill(psutil.Process(process.pid))
        told, _ = process.communicate(timeout=_END_SECONDS)
        seconds = time.monotonic() - began
    except subprocess.TimeoutExpired:
        process.kill()
        told, _ = process.communicate()
        raise AssertionError(f"the disturbed run hangs: {told[-1500:]}") from None
    assert "Traceback (most recent call last)" not in told, told[-3000:]
    status = str(jobs[-1]["status"]) if (jobs := laboratory.jobs()) else "no job"
    if victim in CANCELS or victim in CANCELS_OF_THE_STACK:
        assert status in ("cancelled", "completed"), f"{status}: {told[-1500:]}"
        assert seconds < _CANCEL_SECONDS, f"{seconds:.0f} s until it was cancelled"
    where = "had ended" if ended_before else f"exit {process.returncode}"
    return f"{where}, {status}"


def _compare(laboratory: Laboratory, flow: str) -> None:
    deadline = time.monotonic() + 15
    while (left := laboratory.left_behind()) and time.monotonic() < deadline:
        time.sleep(0.3)
    assert not left, f"left behind: {left}"
    expected, found = laboratory.undisturbed[flow], laboratory.contents()
    if expected != found:
        lines = difflib.unified_diff(expected, found, "undisturbed", "found", n=0, lineterm="")
        raise AssertionError("\n".join(line[:600] for line in list(lines)[:20]))
