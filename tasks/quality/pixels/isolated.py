"""Work on images whose decoders may crash or hang: in a process of their own.

JPEG and PNG are measured in the calling thread. The decoders of TIFF, JPEG 2000, AVIF, WebP and the
others have ended or hung whole processes before, so those images go to one of two small worker
processes that take one image at a time. So does every image that the web process shows. A worker
that dies or exceeds its time is that one image's failure; the next image gets a new worker.

The workers are plain `python -m` processes, not `multiprocessing` ones, because spawning those
imports the caller's main module again (and with it Prefect). They end when the connection to the
parent closes, so that not even `kill -9` of the parent leaves one behind.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from storage.errors import ImageError, ImageErrorCode
from storage.files.places import ObjectPath
from tasks.images.decoding import is_png
from tasks.images.files import DEFAULT_LIMITS, ImageLimits, read_image_file
from tasks.images.jpeg import is_jpeg
from tasks.quality.pixels.measurements import ImageMeasurement, measure_content

DEFAULT_TIME_LIMIT_S = 60.0
_START_LIMIT_S = 60.0
_MEASURE = "tasks.quality.pixels.measurements:measure_as_json"
_SOURCE_ROOT = Path(__file__).resolve().parents[3]


def measure_image_safely(
    path: Path,
    limits: ImageLimits = DEFAULT_LIMITS,
    *,
    expected: tuple[int, int] | None = None,
    measurer: IsolatedMeasurer | None = None,
) -> ImageMeasurement:
    """Measure one image; formats whose decoders are not trusted run in another process.

    Args and result are those of `tasks.quality.pixels.measurements.measure_image`; `measurer` owns
    the processes, and is one shared by all callers when left out. Safe to call from several
    threads.

    Raises:
        ImageError: as `measure_image`, or DECODER_CRASHED or DECODER_TIMED_OUT.
    """
    content = read_image_file(path, limits, expected=expected)
    if is_jpeg(content) or is_png(content):
        return measure_content(content, limits)
    del content  # the worker reads it again; two copies would be held while it works
    return (measurer or _shared_measurer).measure(path, limits, expected=expected)


class IsolatedWorkers:
    """A few worker processes that do one kind of work on one image at a time each.

    They are started when first needed.
    """

    def __init__(
        self,
        work: str,
        workers: int = 2,
        time_limit_s: float = DEFAULT_TIME_LIMIT_S,
        before_each: str | None = None,
    ) -> None:
        """Prepare without starting any process.

        Args:
            work: "module:function" that a worker calls with the path, the limits and what is
                expected, as `measure_image` takes them; it returns JSON values.
            workers: processes at most, and so images at the same time.
            before_each: for tests: "module:function" that the worker calls with the path first.
        """
        self._time_limit_s = time_limit_s
        self._arguments = [str(time_limit_s), work, before_each or ""]
        # One entry for each worker that may be used now; None stands for one not started yet.
        self._free: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(workers):
            self._free.put(None)

    def ask(
        self,
        path: Path,
        limits: ImageLimits = DEFAULT_LIMITS,
        *,
        expected: tuple[int, int] | None = None,
    ) -> dict[str, Any]:
        """What the work on one image comes to, done by a worker as soon as one is free.

        Raises:
            ImageError: as `measure_image`, or DECODER_CRASHED or DECODER_TIMED_OUT.
        """
        if isinstance(path, ObjectPath):
            # A decoder has neither credentials nor a network that it may wait for.
            with tempfile.NamedTemporaryFile(prefix="visionflows-") as copy:
                copy.write(read_image_file(path, limits, expected=expected))
                copy.flush()
                return self.ask(Path(copy.name), limits)
        request = {
            "path": os.fspath(path.absolute()),
            "limits": asdict(limits),
            "expected": expected,
        }
        worker = self._free.get()
        try:
            if worker is None or not worker.send(request):
                # None yet, or it ended while idle, which is not this image's fault.
                worker = _Worker(self._arguments)
                if not worker.send(request):
                    raise ImageError(
                        ImageErrorCode.DECODER_CRASHED, "the decoder process does not stay alive"
                    )
            answer = worker.receive(self._time_limit_s)
        except BaseException:
            if worker is not None:
                worker.kill()
            worker = None
            raise
        finally:
            self._free.put(worker)
        if "error" in answer:
            raise ImageError(ImageErrorCode(answer["error"]), answer["reason"])
        done: dict[str, Any] = answer["done"]
        return done

    def close(self) -> None:
        """End the idle workers; busy ones end with this process."""
        idle = []
        while True:
            try:
                idle.append(self._free.get_nowait())
            except queue.Empty:
                break
        for worker in idle:
            if worker is not None:
                worker.kill()
            self._free.put(None)


class IsolatedMeasurer(IsolatedWorkers):
    """Worker processes that measure images."""

    def __init__(
        self,
        workers: int = 2,
        time_limit_s: float = DEFAULT_TIME_LIMIT_S,
        before_each: str | None = None,
    ) -> None:
        super().__init__(_MEASURE, workers, time_limit_s, before_each)

    def measure(
        self,
        path: Path,
        limits: ImageLimits = DEFAULT_LIMITS,
        *,
        expected: tuple[int, int] | None = None,
    ) -> ImageMeasurement:
        """Measure one image in a worker, waiting for a free one.

        Raises:
            ImageError: as `measure_image`, or DECODER_CRASHED or DECODER_TIMED_OUT.
        """
        return ImageMeasurement(**self.ask(path, limits, expected=expected))


class _Worker:
    """One worker process and the connection to it."""

    def __init__(self, arguments: list[str]) -> None:
        self._connection, remote = Pipe()
        arguments = [str(remote.fileno()), *arguments]
        # Safe path (-P): a folder named `tasks` where the command is called must not be imported.
        command = [sys.executable, "-P", "-m", "tasks.quality.pixels.isolated_worker", *arguments]
        try:
            self._process = subprocess.Popen(
                command,
                env=_worker_environment(),
                pass_fds=[remote.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libtiff writes a line for every odd tag
                # Ctrl-C is for the parent to handle; the worker ends when the parent does.
                process_group=0,
            )
        except OSError as error:
            self._connection.close()
            raise ImageError(
                ImageErrorCode.DECODER_CRASHED, f"the decoder process cannot be started: {error}"
            ) from error
        finally:
            remote.close()
        try:
            self._await_start()
        except BaseException:
            self.kill()
            raise

    def _await_start(self) -> None:
        """Wait until the worker has imported what it needs."""
        try:
            if self._connection.poll(_START_LIMIT_S):
                self._connection.recv_bytes()
                return
            problem = f"did not start within {_START_LIMIT_S:.0f} s"
        except (EOFError, OSError):
            problem = f"did not start: {self._how_it_ended()}"
        raise ImageError(ImageErrorCode.DECODER_CRASHED, f"the decoder process {problem}")

    def send(self, request: dict[str, Any]) -> bool:
        """Hand over one image; False if the worker ended before it began with it."""
        if self._process.poll() is not None:
            self.kill()
            return False
        try:
            self._connection.send_bytes(json.dumps(request).encode())
            # The worker says that it begins, so that a death before that blames no image.
            if self._connection.poll(_START_LIMIT_S):
                self._connection.recv_bytes()
                return True
        except (EOFError, OSError):
            pass
        self.kill()
        return False

    def receive(self, time_limit_s: float) -> dict[str, Any]:
        """Wait for the answer.

        Raises:
            ImageError: DECODER_CRASHED or DECODER_TIMED_OUT; the worker is of no more use.
        """
        try:
            if self._connection.poll(time_limit_s):
                # JSON, not pickle: a decoder that a crafted image took over must not own us, too.
                answer: dict[str, Any] = json.loads(self._connection.recv_bytes())
                return answer
        except (EOFError, OSError, ValueError):
            raise ImageError(
                ImageErrorCode.DECODER_CRASHED,
                f"the decoder process ended while reading this image: {self._how_it_ended()}",
            ) from None
        raise ImageError(
            ImageErrorCode.DECODER_TIMED_OUT,
            f"decoding it took longer than {time_limit_s:g} s and was stopped",
        )

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed the connection"
        if code == -signal.SIGKILL:
            return "killed (SIGKILL), probably because memory ran out"
        return f"crashed ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """End the process, whatever it does, and forget it."""
        self._process.kill()
        self._process.wait()
        self._connection.close()


def _worker_environment() -> dict[str, str]:
    """The parent's environment, our sources first, and no threads inside a worker's libraries."""
    known = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(_SOURCE_ROOT), *([known] if known else [])])
    single = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, "PYTHONPATH": path, **single}


def _start_afresh() -> None:
    """After a fork: the workers belong to the parent, as do the locks inside the old object."""
    global _shared_measurer
    _shared_measurer = IsolatedMeasurer()


_shared_measurer = IsolatedMeasurer()
atexit.register(lambda: _shared_measurer.close())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)
