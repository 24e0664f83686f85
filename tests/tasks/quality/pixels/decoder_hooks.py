"""What the tests of isolation make a worker process do before it decodes."""

import ctypes
import os
import signal
import time
from pathlib import Path


def misbehave_by_name(path: Path) -> None:
    """Crash, die or hang if the file's name says so."""
    if "segfault" in path.name:
        ctypes.string_at(0)
    if "killed" in path.name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "hang" in path.name:
        time.sleep(600)
    if "stuck" in path.name:
        # Like a decoder that loops with Python's lock held: no other thread of Python runs.
        ctypes.PyDLL(None).sleep(600)
    if "bug" in path.name:
        raise ZeroDivisionError("planted")
