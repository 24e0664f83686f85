"""Ends what a test run has started, should the run be killed: `python tests/watchdog.py`.

It reads lines `process <group>` and `postgresql <data folder>` from its standard input, which the
kernel closes when the run ends, however it ends. A run that ends well has stopped these itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

_lock = threading.Lock()
_watching: list[IO[str]] = []


def watch(kind: str, what: object) -> None:
    """Have a process group or a PostgreSQL server ended when this process has gone."""
    with _lock:
        if not _watching:
            process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
            )
            assert process.stdin is not None
            _watching.append(process.stdin)
        print(kind, what, file=_watching[0], flush=True)


def _end(kind: str, what: str) -> None:
    if kind == "postgresql":
        # The first line of the file is the server's process.
        what = Path(what, "postmaster.pid").read_text(encoding="utf-8").partition("\n")[0]
        os.kill(int(what), signal.SIGQUIT)
    else:
        os.killpg(int(what), signal.SIGKILL)


def main() -> None:
    """Wait until the run has gone, and end what is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines = sys.stdin.read().splitlines()
    for line in lines:
        kind, _, what = line.partition(" ")
        with suppress(OSError, ValueError):
            _end(kind, what)


if __name__ == "__main__":
    main()
