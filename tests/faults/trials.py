"""One trial: a flow is disturbed at an instant, and the next run must make up for it."""

from __future__ import annotations

import difflib
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

import httpx
import psutil
import psycopg

from tests.faults.forked import ForkedCommand
from tests.faults.laboratory import Laboratory, Watch, kill

# A look a second, a batch, and a machine that is busy.
_CANCEL_SECONDS = 5.0
_END_SECONDS = 180.0
# What a request may need to be seen by the process that holds the job: a signal is handled by a
# thread, and Prefect is asked every other second.
_SEEN_SECONDS = {"ctrl-c": 0.5, "sigterm": 0.5, "cancel in Prefect": 4.0}

Process = subprocess.Popen[str] | ForkedCommand
Disturbing = Callable[[Laboratory, Process, random.Random], None]


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


def _kill_part(name: str) -> Disturbing:
    return lambda laboratory, _, __: laboratory.stack.kill(name)


def _signal(number: signal.Signals) -> Disturbing:
    return lambda _, process, __: process.send_signal(number)


def _cancel_by_command(laboratory: Laboratory, _: Process, __: random.Random) -> None:
    if jobs := laboratory.jobs():
        # It says so with another status when the job has ended meanwhile.
        assert laboratory.forker is not None
        told, _ = laboratory.forker.start("cancel", str(jobs[-1]["id"])).communicate(timeout=60)
        assert "Traceback" not in told, told


def _cancel_in_prefect(laboratory: Laboratory, _: Process, __: random.Random) -> None:
    server, jobs = laboratory.shared_server, laboratory.jobs()
    if server and jobs and jobs[-1]["flow_run_id"]:
        name, _, password = server.auth.partition(":")
        url = f"{server.api_url}/flow_runs/{jobs[-1]['flow_run_id']}/set_state"
        state = {"type": "CANCELLING", "name": "Cancelling"}
        httpx.post(url, json={"state": state}, auth=(name, password), trust_env=False, timeout=30)


def _cancel_at(path: str) -> Disturbing:
    def cancel(laboratory: Laboratory, _: Process, __: random.Random) -> None:
        if jobs := laboratory.jobs():
            url = f"{laboratory.web_url}{path}/{jobs[-1]['id']}/cancel"
            answer = httpx.post(url, trust_env=False, timeout=60)
            assert answer.status_code < 400, answer.text

    return cancel


def _kill_web(laboratory: Laboratory, _: Process, __: random.Random) -> None:
    if laboratory.web is not None:
        laboratory.web.kill()
        laboratory.web.wait()


KILLS = {
    "flow": _kill_flow,
    "server": _kill_server,
    "backend": _kill_backend,
    "postgresql": _kill_postgresql,
    "web": _kill_web,
}
CANCELS = {
    "ctrl-c": _signal(signal.SIGINT),
    "sigterm": _signal(signal.SIGTERM),
    "cancel command": _cancel_by_command,
    "cancel in Prefect": _cancel_in_prefect,
    "cancel on a page": _cancel_at("/jobs"),
}
OF_THE_STACK = {
    "worker": _kill_worker,
    "stack's server": _kill_part("server"),
    "stack's web": _kill_part("web"),
}
CANCELS_OF_THE_STACK = {"cancel by HTTP": _cancel_at("/api/v1/jobs")}
ALL_CANCELS = CANCELS | CANCELS_OF_THE_STACK
ALL = KILLS | CANCELS | OF_THE_STACK | CANCELS_OF_THE_STACK


@dataclass(frozen=True)
class Outcome:
    """What came of a trial; `wrong` is empty where all was as it must be.

    The instant is a `part` of the work, from 0 to 1. `status` is that of the job after the
    disturbance; `took` is how many seconds passed from a cancellation to the end of the job.
    """

    flow: str
    victim: str
    part: float
    was: str
    wrong: str
    status: str = ""
    took: float = 0.0


@dataclass
class _Seen:
    """What is known of a disturbed run."""

    part: float
    was: str = "-"
    status: str = ""
    took: float = 0.0


def try_once(
    laboratory: Laboratory,
    flow: str,
    victim: str,
    chance: random.Random,
    *,
    part: float | None = None,
    again: bool = True,
) -> Outcome:
    """Disturb a flow at an instant of its work, run it `again`, and compare.

    The instant is a `part` of its whole length, a random one by default.
    """
    if flow not in laboratory.undisturbed:
        laboratory.learn(flow)
    laboratory.reset()
    seen, wrong = _Seen(chance.random() if part is None else part), ""
    try:
        _disturb(laboratory, flow, victim, chance, seen)
        laboratory.postgresql.start_again()
        if again:
            laboratory.finish(flow)
            _compare(laboratory, flow)
        else:
            _wait_until_nothing_is_left(laboratory)
            status = str(laboratory.jobs()[-1]["status"])
            assert status == seen.status, f"it was {seen.status}, and is {status} afterwards"
    except AssertionError as error:
        wrong = str(error)
    return Outcome(flow, victim, seen.part, seen.was, wrong, seen.status, seen.took)


def _disturb(
    laboratory: Laboratory,
    flow: str,
    victim: str,
    chance: random.Random,
    seen: _Seen,
) -> None:
    if victim in ("web", "cancel on a page"):
        assert laboratory.web_url
    process = laboratory.start(flow)
    try:
        with Watch(laboratory, process) as watch:
            watch.wait_for_instant(laboratory.spans[flow], seen.part)
        ended_before = process.poll() is not None
        ALL[victim](laboratory, process, chance)
        asked_at = datetime.now(UTC)
        if victim == "worker":
            # It waits for a run whose process has gone, which Prefect notices after minutes.
            kill(psutil.Process(process.pid))
        told, _ = process.communicate(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        told, _ = process.communicate()
        raise AssertionError(f"the disturbed run hangs: {told[-1500:]}") from None
    job = jobs[-1] if (jobs := laboratory.jobs()) else None
    seen.status = "no job" if job is None else str(job["status"])
    where = "had ended" if ended_before else f"exit {process.returncode}"
    seen.was = f"{where}, {seen.status}"
    assert "Traceback (most recent call last)" not in told, told[-3000:]
    if victim in ALL_CANCELS:
        assert job is not None, told[-1500:]
        _look_at_cancelled(job, victim, asked_at, seen, told)


def _look_at_cancelled(
    job: dict[str, Any], victim: str, asked_at: datetime, seen: _Seen, told: str
) -> None:
    """Whether a job ended as cancelled soon after it was asked to, or was done before."""
    assert seen.status in ("cancelled", "completed"), f"{seen.status}: {told[-1500:]}"
    seen.took = max(0.0, (job["completed_at"] - asked_at).total_seconds())
    if seen.status == "completed":
        assert not job["cancel_requested"], "completed after it was asked to be cancelled"
        limit = _SEEN_SECONDS.get(victim, 0.0)
        assert seen.took <= limit, f"completed {seen.took:.2f} s after {victim}: {told[-1500:]}"
    else:
        limit = _CANCEL_SECONDS + _SEEN_SECONDS.get(victim, 0.0)
        assert seen.took < limit, f"{seen.took:.1f} s until it was cancelled"


def _wait_until_nothing_is_left(laboratory: Laboratory) -> None:
    deadline = time.monotonic() + 15
    while (left := laboratory.left_behind()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, f"left behind: {left}"


def _compare(laboratory: Laboratory, flow: str) -> None:
    _wait_until_nothing_is_left(laboratory)
    expected, found = laboratory.undisturbed[flow], laboratory.contents()
    if expected != found:
        lines = difflib.unified_diff(expected, found, "undisturbed", "found", n=0, lineterm="")
        shown = _few_of_each([line for line in lines if not line.startswith(("@", "---", "+++"))])
        raise AssertionError("\n".join(f"{line[:60]} ... {_end(line, shown)}" for line in shown))


def _few_of_each(lines: list[str]) -> list[str]:
    """The first two lines of each table or file and side."""
    seen: Counter[str] = Counter()
    few = []
    for line in lines:
        seen[line.partition(" ")[0]] += 1
        if seen[line.partition(" ")[0]] <= 2:
            few.append(line)
    return few[:40]


def _end(line: str, lines: list[str]) -> str:
    """The part of a line in which it differs from the one that is most like it."""
    pairs = [zip(line[1:], other[1:], strict=False) for other in lines if other != line]
    alike = [sum(1 for _ in takewhile(lambda two: two[0] == two[1], pair)) for pair in pairs]
    first = max(alike, default=0)
    return line[max(first - 60, 0) : first + 300]
