"""A disk that fills up while a flow writes: a real one, in memory, that is made larger again.

    python -m tests.faults.full_disk --seed 1 --trials 50

Mounting needs root, or the command in a namespace: `unshare --map-root-user --mount`.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from deployments.server.processes import free_port
from storage.database.server_programs import default_folder
from tests.end_to_end.conftest import COMMAND
from tests.faults.laboratory import FLOWS, Laboratory, Watch
from tests.faults.table import write_table
from tests.faults.trials import Outcome
from tests.faults.trials import _compare as compare

_ROOM = 1 << 30
_END_SECONDS = 180.0
# Of a block, of a few files, of a snapshot.
_MOST_BYTES_LEFT = 20_000
_TUS = {"Tus-Resumable": "1.0.0"}


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Have a folder with all that it holds on a disk of its own."""
    aside = folder.with_name(f"{folder.name} aside")
    _run("cp", "-a", folder, aside)
    _run("mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "visionflows", folder)
    try:
        shutil.copystat(aside, folder)
        owner = aside.stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
        _run("cp", "-a", f"{aside}/.", folder)
        yield
    finally:
        _run("umount", "--lazy", folder)
        shutil.rmtree(aside)


def fill(folder: Path, left: int) -> None:
    """Leave so many bytes on the disk of a folder; what is written meanwhile may take some."""
    for _ in range(20):
        disk = os.statvfs(folder)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        with suppress(subprocess.CalledProcessError):
            return _resize(folder, used + left)
    raise AssertionError(f"{folder} could not be filled")


def make_room(folder: Path) -> None:
    """Have plenty of room on the disk of a folder again."""
    _resize(folder, _ROOM)


def _resize(folder: Path, size: int) -> None:
    _run("mount", "-o", f"remount,size={size}", folder)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


def try_flow(laboratory: Laboratory, flow: str, disk: Path, chance: random.Random) -> Outcome:
    """Fill a disk at a random instant of a flow; with room again, the next run must be right."""
    name = "disk of the database" if disk.name == "data" else "disk of the results"
    if flow not in laboratory.undisturbed:
        laboratory.learn(flow)
    part = chance.random()
    laboratory.reset()
    was, wrong = "-", ""
    try:
        process = laboratory.start(flow)
        try:
            with Watch(laboratory, process) as watch:
                watch.wait_for_instant(laboratory.spans[flow], part)
            fill(disk, int(chance.random() * _MOST_BYTES_LEFT))
            told, _ = process.communicate(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            told, _ = process.communicate()
            raise AssertionError(f"the disturbed run hangs: {told[-1500:]}") from None
        finally:
            make_room(disk)
        laboratory.postgresql.start_again()
        jobs = laboratory.jobs()
        was = f"exit {process.returncode}, {jobs[-1]['status'] if jobs else 'no job'}"
        assert "Traceback (most recent call last)" not in told, told[-3000:]
        assert process.returncode == 0 or _says_why(told), told[-1500:]
        laboratory.finish(flow)
        compare(laboratory, flow)
    except AssertionError as error:
        wrong = str(error)
    return Outcome(flow, name, part, was, wrong)


def _says_why(told: str) -> bool:
    return "make room" in told and (" is full" in told or " are free" in told)


def try_upload(laboratory: Laboratory, chance: random.Random) -> Outcome:
    """Fill the disk while a file arrives over HTTP; with room again it goes on from there."""
    laboratory.reset()
    laboratory.finish("ingest-project")
    port = free_port(24950)
    address = f"http://127.0.0.1:{port}"
    content = b"PK\x03\x04" + chance.randbytes(2_000_000)
    left = int(chance.random() * len(content))
    web = subprocess.Popen(
        [str(COMMAND), "web", "--port", str(port)],
        env=laboratory.stack.environment,
        stdout=subprocess.DEVNULL,
    )
    was, wrong = "-", ""
    try:
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            _wait_until_it_answers(client)
            answer = client.post("/api/v1/projects/ingested/upload-temp")
            assert answer.status_code == 201, answer.text
            # Its name is a.zip.
            heads = {"Upload-Length": str(len(content)), "Upload-Metadata": "filename YS56aXA="}
            began = client.post(answer.json()["data"]["files_url"], headers=_TUS | heads)
            assert began.status_code == 201, began.text
            place = began.headers["location"]
            fill(laboratory.home, left)
            sent = _send(client, place, content, 0)
            was = f"answer {sent.status_code} with {left:,} bytes of room"
            make_room(laboratory.home)
            assert sent.status_code == 507, sent.text
            assert "full" in sent.text, sent.text
            offset = int(client.head(place, headers=_TUS).headers["upload-offset"])
            assert offset <= len(content)
            assert _send(client, place, content[offset:], offset).status_code == 204
            staged = [
                path.read_bytes()
                for path in laboratory.home.rglob("*")
                if path.is_file() and path.stat().st_size == len(content)
            ]
            assert content in staged, f"what arrived is not what was sent: {len(staged)} files"
    except AssertionError as error:
        wrong = str(error)
    finally:
        make_room(laboratory.home)
        web.send_signal(signal.SIGTERM)
        web.wait(60)
    return Outcome("upload", "disk of the results", 0.0, was, wrong)


def _send(client: httpx.Client, place: str, content: bytes, offset: int) -> httpx.Response:
    heads = _TUS | {
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
    }
    return client.patch(place, headers=heads, content=content)


def _wait_until_it_answers(client: httpx.Client) -> None:
    for _ in range(300):
        with suppress(httpx.TransportError):
            client.get("/api/v1/projects")
            return
        time.sleep(0.1)
    raise AssertionError("the web application does not answer")


def fill_disks(seed: int, trials: int, seconds: float) -> list[Outcome]:
    """Trials of flows and uploads in turn, first on the disk of results, then of the database."""
    outcomes: list[Outcome] = []
    laboratory = Laboratory()
    data = default_folder(laboratory.home) / "data"
    try:
        for disk in (laboratory.home, data):
            _stop_database(laboratory)
            with small_disk(disk):
                laboratory.postgresql.start_again()
                deadline = time.monotonic() + seconds / 2
                cases = [*FLOWS, "upload"] if disk == laboratory.home else [*FLOWS]
                for number in range(trials // 2):
                    if time.monotonic() > deadline:
                        break
                    case, chance = cases[number % len(cases)], random.Random(f"{seed} {number}")
                    outcome = (
                        try_upload(laboratory, chance)
                        if case == "upload"
                        else try_flow(laboratory, case, disk, chance)
                    )
                    outcomes.append(outcome)
                    words = f"WRONG: {outcome.wrong}" if outcome.wrong else "as undisturbed"
                    print(f"{number:4} {case:22} {outcome.was}; {words}", flush=True)
                _stop_database(laboratory)
            laboratory.postgresql.start_again()
    finally:
        laboratory.close()
    return outcomes


def _stop_database(laboratory: Laboratory) -> None:
    postmaster = laboratory.postmaster()
    postmaster.send_signal(signal.SIGINT)
    postmaster.wait(60)


def disk_rows(outcomes: Sequence[Outcome]) -> list[str]:
    """A table of right trials among all, by disk and by what wrote; how many were refused."""
    cases = [*FLOWS, "upload"]
    rows = [f"| full | {' | '.join(cases)} |", "|---" * (len(cases) + 1) + "|"]
    for disk in dict.fromkeys(one.victim for one in outcomes):
        cells = []
        for case in cases:
            found = [one for one in outcomes if (one.victim, one.flow) == (disk, case)]
            right = sum(not one.wrong for one in found)
            refused = sum(not one.was.startswith("exit 0") for one in found)
            cells.append(f"{right} of {len(found)}, {refused} met it" if found else "-")
        rows.append(f"| {disk} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Read the options, run, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--write", action="store_true", help="a table goes into the docs")
    options = parser.parse_args()
    outcomes = fill_disks(options.seed, options.trials, options.seconds)
    rows = disk_rows(outcomes)
    print("", *rows, sep="\n")
    if options.write:
        write_table("disks", options.seed, rows)
    wrong = sum(bool(outcome.wrong) for outcome in outcomes)
    print(f"{len(outcomes)} trials, {wrong} wrong")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
