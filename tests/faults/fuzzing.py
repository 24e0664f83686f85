"""Damaged labels, manifests, archives and pictures, given to their readers within limits.

Every input follows from a seed and a number. A reader may refuse it in its own words; any other
error, a crash, too much time or too much memory is a finding.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import resource
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from storage.errors import VisionflowsError
from tasks.images.decoding import decode_image, read_image_facts
from tasks.images.jpeg import is_jpeg
from tasks.labels.dataset.reading import read_dataset_labels
from tasks.labels.formats.registry import FORMATS
from tasks.releases.metadata import read_release_metadata
from tasks.releases.scan import scan_release
from tasks.sessions.computation import compute_session_statistics
from tasks.sessions.metadata.generators import generation_metadata
from tasks.sessions.metadata.image_headers import ImageHeaderError, read_image_header
from tasks.sessions.problems import session_log
from tests.faults.hostile import HOSTILE
from tests.places import DATA
from tests.session_folders import COMBINATIONS, SEED_LIST, SWEEP, set_age
from tests.tasks.labels.dataset.format_samples import TABLE
from tests.tasks.sessions.session_samples import found

MOST_SECONDS = 10.0
MOST_BYTES = 1 << 29  # in memory beyond what the process has when it begins
_MOST_ADDRESSES = 1 << 33  # allocators reserve much more than they use
_LARGEST = 200_000
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_NUMBERS = (
    *(b"0", b"-1", b"1e999", b"NaN", b"Infinity", b"9" * 400, b"9" * 5000, b"2147483648"),
    *(b"-9223372036854775809", b"1e-320", b"0x10", b"true", b"null", b'"1"', b"[]"),
)
_PARTS = (b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n" * 300, b"[" * 3000, b'{"a":' * 3000,
          b"<a>" * 3000, b"\xed\xa0\x80", b"\\ud800", b"&lt;", b"%s", b"../", b"- *a\n", b"&a [",
          b"A" * 140000, b"PK\x01\x02", b"PK\x05\x06", b"\xff" * 8)  # fmt: skip

_PICTURES = ("*.png", "*.jpg", "*.webp", "*.tif", "*.gif", "*.bmp", "*.heic", "*.avif", "*.mpo",
             "*.psd", "*.tga", "*.pgm", "*.jp2")  # fmt: skip
# A million inputs in all, most of them for the readers that take the least time for one.
SHARES = {
    "labels": 0.15,
    "label files of other names": 0.05,
    "manifests": 0.3,
    "archives": 0.25,
    "pictures": 0.25,
}

__all__ = ["KINDS", "Finding", "fuzz", "read_one"]


@dataclass(frozen=True)
class Finding:
    """An input at which a reader did what it must not."""

    kind: str
    number: int
    what: str


def corpus_folders() -> list[Path]:
    """Where whole files are taken from: ours, and a folder that VISIONFLOWS_FUZZ_CORPUS names."""
    more = os.environ.get("VISIONFLOWS_FUZZ_CORPUS")
    return [DATA, *([Path(more)] if more else [])]


@cache
def _files(pattern: str) -> tuple[bytes, ...]:
    folders = corpus_folders()
    paths = sorted(path for one in folders for path in one.rglob(pattern) if path.is_file())
    return tuple(path.read_bytes() for path in paths if 0 < path.stat().st_size < _LARGEST)


def _damaged(content: bytes, others: tuple[bytes, ...], chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 4)):
        length = len(content)
        start = chance.randrange(length + 1)
        end = min(length, start + int(2 ** chance.uniform(0, 12)))
        match chance.randrange(8):
            case 0:
                content = content[:start]
            case 1:
                content = content[:start] + content[end:]
            case 2:
                content = content[:end] + content[start:]
            case 3:
                content = content[:start] + chance.choice(_PARTS) + content[start:]
            case 4:
                content = content[:start] + chance.randbytes(end - start) + content[end:]
            case 5:
                other = chance.choice(others)
                content = content[:start] + other[chance.randrange(len(other) + 1) :]
            case 6 if numbers := list(_NUMBER.finditer(content[:100_000])):
                one = chance.choice(numbers)
                content = content[: one.start()] + chance.choice(_NUMBERS) + content[one.end() :]
            case _:
                changed = bytearray(content)
                for _ in range(chance.randint(1, 8) if changed else 0):
                    changed[chance.randrange(length)] ^= 1 << chance.randrange(8)
                content = bytes(changed)
    return content[: 2 * _LARGEST]


def _labels(chance: random.Random, _: Path) -> None:
    samples = [files for files, *_ in TABLE.values()]
    files = {
        name: content if isinstance(content, bytes) else content.encode()
        for name, content in chance.choice(samples).items()
    }
    damaged = chance.choice(sorted(files))
    files[damaged] = _damaged(files[damaged], tuple(files.values()), chance)
    read_dataset_labels(["a.jpg", *files], files.__getitem__, size_of_image=lambda _: None)


def _label_trees(chance: random.Random, _: Path) -> None:
    """A file of the handed data under the name of any format."""
    content = chance.choice(_files("*.txt") + _files("*.json") + _files("*.xml") + _files("*.yaml"))
    suffix = chance.choice(sorted({one for entry in FORMATS.values() for one in entry.suffixes}))
    damaged = _damaged(content, (content,), chance)
    name = chance.choice(["a", "labels/a", "train/labels/a", "_annotations.coco"]) + suffix
    files = {name: damaged, "data.yaml": _damaged(b"names: [a, b]\nkpt_shape: [2, 3]\n", (content,),
                                                  chance)}  # fmt: skip
    read_dataset_labels(["a.jpg", *files], files.__getitem__)


def _manifests(chance: random.Random, folder: Path) -> None:
    texts = tuple(json.dumps(one).encode() for one in (COMBINATIONS, SWEEP, SEED_LIST))
    (folder / "manifest.json").write_bytes(_damaged(chance.choice(texts), texts, chance))
    set_age(folder)  # a fresh one that is damaged is read again
    compute_session_statistics(found(folder), now=datetime(2026, 1, 1, tzinfo=UTC))


def _archives(chance: random.Random, folder: Path) -> None:
    texts = _files("*.zip")
    path = folder / "a.zip"
    path.write_bytes(_damaged(chance.choice(texts), texts, chance))
    with suppress(VisionflowsError):
        read_release_metadata(path)
    scan_release(path)


def _pictures(chance: random.Random, folder: Path) -> None:
    pictures = tuple(content for pattern in _PICTURES for content in _files(pattern))
    content = _damaged(chance.choice(pictures), pictures, chance)
    path = folder / chance.choice(["a.png", "a.jpg", "a.webp"])
    path.write_bytes(content)
    try:
        header = read_image_header(path)
        generation_metadata(header.texts, "a", session_log())
    except ImageHeaderError:
        pass
    read_image_facts(content)
    if is_jpeg(content) or content.startswith(b"\x89PNG"):
        decode_image(content)


KINDS: dict[str, Callable[[random.Random, Path], None]] = {
    "labels": _labels,
    "label files of other names": _label_trees,
    "manifests": _manifests,
    "archives": _archives,
    "pictures": _pictures,
}


def _hostile(number: int, folder: Path) -> None:
    list(HOSTILE.values())[number](folder)


def read_one(kind: str, seed: int, number: int, folder: Path) -> None:
    """Give one damaged input to its reader; raises what the reader must not raise."""
    with suppress(VisionflowsError):  # refused in words that a person can use
        if kind == "made to be hostile":
            _hostile(number, folder)
        else:
            KINDS[kind](random.Random(f"{kind} {seed} {number}"), folder)


def fuzz(kind: str, seed: int, inputs: int, seconds: float) -> tuple[int, list[Finding]]:
    """Read so many inputs in a process beside this one; how many were read, and the findings."""
    findings: list[Finding] = []
    at = multiprocessing.Value("q", 0, lock=False)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    deadline = time.monotonic() + seconds
    while at.value < inputs and time.monotonic() < deadline:
        begun_at, since = at.value, time.monotonic()
        process = context.Process(target=_work, args=(kind, seed, inputs, at, queue))
        process.start()
        while process.is_alive() and time.monotonic() < deadline:
            process.join(0.2)
            while not queue.empty():
                findings.append(queue.get())
            if at.value != begun_at:
                begun_at, since = at.value, time.monotonic()
            elif time.monotonic() - since > MOST_SECONDS:
                findings.append(Finding(kind, at.value, f"longer than {MOST_SECONDS:.0f} s"))
                break
        is_over = process.exitcode == 0 or time.monotonic() > deadline
        if process.exitcode not in (None, 0):
            findings.append(Finding(kind, at.value, f"ended by signal {-process.exitcode}"))
        process.kill()
        process.join()
        if is_over:
            break
        at.value += 1
    while not queue.empty():
        findings.append(queue.get())
    return at.value, findings


def _work(kind: str, seed: int, inputs: int, at: object, queue: object) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MOST_ADDRESSES, used + _MOST_ADDRESSES))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory(prefix="visionflows-fuzz-") as folder:
        while at.value < inputs:
            try:
                read_one(kind, seed, at.value, Path(folder))
            except Exception as error:
                places = traceback.extract_tb(error.__traceback__)
                last = " < ".join(f"{Path(p.filename).name}:{p.lineno}" for p in places[:-5:-1])
                queue.put(Finding(kind, at.value, f"{type(error).__name__}: {error!s:.200} {last}"))
            now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if now - peak > MOST_BYTES >> 10:
                queue.put(Finding(kind, at.value, f"took {(now - peak) >> 10} MiB"))
                peak = now
            at.value += 1


def fuzz_all(seed: int, inputs: int, seconds: float) -> dict[str, tuple[int, list[Finding]]]:
    """Read inputs of every kind in turn; a line each kind, and one for each kind of finding."""
    results = {}
    counts = {kind: round(inputs * share) for kind, share in SHARES.items()}
    for kind, wanted in {"made to be hostile": len(HOSTILE), **counts}.items():
        began = time.monotonic()
        results[kind] = count, findings = fuzz(kind, seed, wanted, seconds)
        took = time.monotonic() - began
        print(f"{kind:28} {count:8} inputs in {took:.0f} s, {len(findings)} findings", flush=True)
        shown = Counter(finding.what for finding in findings)
        for what, times in shown.most_common(20):
            first = next(finding.number for finding in findings if finding.what == what)
            print(f"  {times} times, first at {first}: {what}")
    return results
