"""Finding objects in many image files: decoding of some overlaps inference of others.

Each thread takes whole images from file to detections, so that two cores are used and not fought
over. Where the model wants batches (on a GPU), each thread takes so many images, and those of one
shape go through together.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from storage.errors import ImageError, ImageErrorCode, VisionflowsError
from tasks.images.decoding import decode_image
from tasks.images.displayed_pixels import displayed_pixels
from tasks.images.files import DEFAULT_LIMITS, ImageLimits, read_image_file
from tasks.inference.detection.engine import Model, PreparedPicture
from tasks.inference.detections import ImageDetections, ModelError
from tasks.inference.model.runtime_errors import runtime_reason

_MEMORY_WORDS = ("out of memory", "bad_alloc", "failed to allocate", "not enough memory")


@dataclass(frozen=True, slots=True)
class RegisteredContent:
    """The content of an image, by its digest; the first path at which it lies is read."""

    paths: tuple[Path, ...]
    sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class ImageOutcome:
    """What became of one image; exactly one of `detections` and `error` is given.

    Detections are everything above the floor confidence; an error is an `ImageError` (the file) or
    a `ModelError` (the model). `inference_ms` includes the postprocessing.
    """

    position: int
    detections: ImageDetections | None
    error: VisionflowsError | None
    inference_ms: float


def detect_in_files(
    model: Model,
    files: Sequence[Path | RegisteredContent],
    *,
    threads: int = 2,
    batch_size: int | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
    should_stop: Callable[[], bool] = lambda: False,
    turns: ModelTurns | None = None,
) -> Generator[ImageOutcome, None, None]:
    """Find objects in image files.

    Outcomes come as images are done, in no particular order. No image stops the others: whatever a
    decoder or the model raises on one becomes its error. Closing the generator waits for images
    that are being worked on and begins no others. Once `should_stop` says yes, no further image is
    begun.

    `threads` images are worked on at a time, as many as `load_model` was told, and `batch_size` go
    through the model together where their shapes allow it (None: what suits it). `turns` is shared
    by all callers that use the model at the same time, so that an image for which memory does not
    suffice can be tried alone.
    """
    worker = _Worker(model, limits, turns or ModelTurns(threads), should_stop)
    size = batch_size or model.batch_size
    chunks = _chunks(files, size)
    with ThreadPoolExecutor(threads, thread_name_prefix="inference") as pool:
        running: set[Future[list[ImageOutcome]]] = set()
        try:
            while True:
                # One more chunk than threads waits ready, so that no thread waits for us.
                for chunk in islice(chunks, threads + 1 - len(running)):
                    running.add(pool.submit(worker.work_on, chunk))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from future.result()
        finally:
            worker.stop()
            for future in running:
                future.cancel()


def _chunks(
    files: Sequence[Path | RegisteredContent], size: int
) -> Iterator[list[tuple[int, Path | RegisteredContent]]]:
    for first in range(0, len(files), size):
        yield list(enumerate(files[first : first + size], start=first))


class ModelTurns:
    """Lets up to `count` threads run a model at a time, or one thread alone."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = threading.Semaphore(count)
        self._only_one_waits = threading.Lock()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Run beside others."""
        with self._free:
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Run while nobody else does."""
        with self._only_one_waits:
            for _ in range(self._count):
                self._free.acquire()
            try:
                yield
            finally:
                self._free.release(self._count)


class _Worker:
    """Takes chunks of images from file to outcome, in any thread."""

    def __init__(
        self, model: Model, limits: ImageLimits, turns: ModelTurns, should_stop: Callable[[], bool]
    ) -> None:
        self._model = model
        self._limits = limits
        self._turns = turns
        self._should_stop = should_stop
        self._is_closed = False

    def stop(self) -> None:
        """Begin no further image."""
        self._is_closed = True

    def work_on(self, chunk: list[tuple[int, Path | RegisteredContent]]) -> list[ImageOutcome]:
        """Decode images, and run those of one shape together."""
        outcomes: list[ImageOutcome] = []
        by_shape: dict[tuple[int, ...], list[tuple[int, PreparedPicture]]] = {}
        for position, file in chunk:
            if self._is_closed or self._should_stop():
                break
            try:
                prepared = self._prepare(file)
            except ImageError as error:
                outcomes.append(ImageOutcome(position, None, error, 0.0))
            else:
                by_shape.setdefault(prepared.values.shape, []).append((position, prepared))
        for group in by_shape.values():
            outcomes += self._detect(group)
        return outcomes

    def _prepare(self, file: Path | RegisteredContent) -> PreparedPicture:
        if isinstance(file, Path):
            content = read_image_file(file, self._limits)
        else:
            content = read_registered_content(file, self._limits)
        try:
            return self._model.prepare(displayed_pixels(decode_image(content, self._limits)))
        except MemoryError:
            raise _out_of_memory("decoding") from None

    def _detect(self, group: list[tuple[int, PreparedPicture]]) -> list[ImageOutcome]:
        """Run a group; where it fails, its halves; where one image fails, that is its error."""
        try:
            with self._turns.shared():
                return self._run(group)
        except Exception as error:  # the runtimes have classes of their own
            if len(group) > 1:
                half = len(group) // 2
                return self._detect(group[:half]) + self._detect(group[half:])
            if is_out_of_memory(error):
                return [self._detect_alone(*group[0])]
            return [_failed(group[0][0], error)]

    def _detect_alone(self, position: int, prepared: PreparedPicture) -> ImageOutcome:
        """Run one image once more while no other thread needs memory."""
        try:
            with self._turns.alone():
                return self._run([(position, prepared)])[0]
        except Exception as error:
            return _failed(position, error)

    def _run(self, group: list[tuple[int, PreparedPicture]]) -> list[ImageOutcome]:
        start = time.perf_counter()
        found = self._model.detect_prepared([prepared for _, prepared in group])
        milliseconds = (time.perf_counter() - start) * 1000 / len(group)
        return [
            ImageOutcome(position, detections, None, milliseconds)
            for (position, _), detections in zip(group, found, strict=True)
        ]


def read_registered_content(file: RegisteredContent, limits: ImageLimits) -> bytes:
    """Read an image from the first place where it lies unchanged.

    Raises:
        ImageError: there is none; why not at the first place.
    """
    errors = []
    for path in file.paths:
        try:
            content = read_image_file(path, limits)
        except ImageError as error:
            errors.append(error)
            continue
        if hashlib.sha256(content).hexdigest() == file.sha256:
            return content
        errors.append(
            ImageError(
                ImageErrorCode.CHANGED,
                "changed since it came into the collection; bring the collection up to date "
                "(`visionflows collections refresh`)",
            )
        )
    raise errors[0] if errors else ImageError(ImageErrorCode.MISSING, "nobody knows where it lies")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of any runtime says that memory did not suffice."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = str(error).lower()
    return any(word in words for word in _MEMORY_WORDS)


def _failed(position: int, error: Exception) -> ImageOutcome:
    if is_out_of_memory(error):
        return ImageOutcome(position, None, _out_of_memory("running the model"), 0.0)
    if not isinstance(error, VisionflowsError):
        error = ModelError(f"the model failed on this image: {runtime_reason(error)}")
    return ImageOutcome(position, None, error, 0.0)


def _out_of_memory(doing: str) -> ImageError:
    return ImageError(ImageErrorCode.OUT_OF_MEMORY, f"not enough memory while {doing}")
