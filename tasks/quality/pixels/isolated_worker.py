"""The worker process of `isolated`: `python -m tasks.quality.pixels.isolated_worker`.

Answers one request after another over an inherited connection and ends when it closes.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from storage.errors import ImageError, ImageErrorCode
from tasks.images.files import ImageLimits
from tasks.quality.pixels.measurements import prepare_worker_thread

# The parent stops a slow worker itself; this is for a parent that is gone.
_GRACE_S = 10.0


def main(arguments: list[str]) -> None:
    """Serve until the parent closes the connection.

    Args:
        arguments: file descriptor of the connection, time limit in seconds, "module:function"
            that does the work, and one to call with each path first, or "".
    """
    descriptor, time_limit_s, work, before_each = arguments
    connection = Connection(int(descriptor))
    prepare_worker_thread()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    do, hook = _load(work), _load(before_each) if before_each else None
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    connection.send_bytes(b"ready")
    threading.Thread(target=_listen, args=(connection, requests), daemon=True).start()
    while True:
        request = requests.get()
        connection.send_bytes(b"begun")
        # Ends this process even if a decoder hangs with Python's lock held and nobody is left
        # to kill it: the default action of the signal needs no Python.
        signal.setitimer(signal.ITIMER_REAL, float(time_limit_s) + _GRACE_S)
        answer = _answer(request, do, hook)
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.send_bytes(json.dumps(answer).encode())


def _listen(connection: Connection, requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Pass requests on; end the process, busy or not, once the parent is gone."""
    while True:
        try:
            requests.put(json.loads(connection.recv_bytes()))
        except (EOFError, OSError):
            os._exit(0)


def _answer(
    request: dict[str, Any],
    do: Callable[..., Any],
    hook: Callable[[Path], object] | None,
) -> dict[str, Any]:
    path = Path(request["path"])
    try:
        if hook is not None:
            hook(path)
        done = do(
            path,
            ImageLimits(**request["limits"]),
            expected=request["expected"] and tuple(request["expected"]),
        )
    except ImageError as error:
        return {"error": error.code.value, "reason": error.reason}
    except Exception as error:  # the parent reports it for this image and goes on
        reason = f"decoding failed unexpectedly ({type(error).__name__}: {error})"
        return {"error": ImageErrorCode.DECODER_CRASHED.value, "reason": reason}
    return {"done": done}


def _load(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return loaded


if __name__ == "__main__":
    main(sys.argv[1:])
