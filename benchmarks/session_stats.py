"""Measure the statistics of one session: a hundred, a thousand and a hundred thousand images.

Run `python -m benchmarks.session_stats [--images 100 1000 100000] [--turns 3]`.

For each number a folder of small files and a manifest as generators write it (indented, with the
prompts of every image) are made. Every way runs in a process of its own, in turns; the best of the
turns is shown, and the peak memory is that of the process. The plain ways are those that everybody
writes: the json module, and one pattern per suffix. Results of the ways are checked to be equal.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness import measure_apart, print_table
from tasks.sessions.computation import compute_session_statistics
from tasks.sessions.folders.content import scan_folder
from tasks.sessions.folders.finding import fingerprint_session
from tasks.sessions.manifest.files import read_manifest
from tasks.sessions.metadata.image_headers import read_image_header
from tasks.sessions.problems import session_log
from tasks.sessions.statistics import SessionFolder

PROMPT = (
    "masterpiece, best quality, portrait of a person, {0} expression, seen from {1}, detailed "
    "face, soft light, shallow depth of field, photograph, 35mm, film grain, natural colours, "
    "muted background, light breeze in the hair, eyes on the viewer"
)
NEGATIVE = (
    "low quality, worst quality, blurry, jpeg artifacts, signature, watermark, bad anatomy, "
    "cropped, out of frame, duplicate, deformed hands, extra fingers"
)
Figures = dict[str, int]


def make_session(folder: Path, count: int) -> None:
    """Write a session of so many images."""
    folder.mkdir()
    values = [f"value {number}" for number in range(max(count // 10, 1))]
    images = []
    for number in range(count):
        name = f"{folder.name}_{number:06d}_seed-{1000 + number}.png"
        (folder / name).write_bytes(b"")
        expression, angle = values[number % len(values)], f"angle {number % 10}"
        images.append(
            {
                "filename": name,
                "seed": 1000 + number,
                "prompt": PROMPT.format(expression, angle),
                "negative_prompt": NEGATIVE,
                "applied_variations": {"Expression": expression, "Angle": angle},
            }
        )
    snapshot = {
        "version": "2.0",
        "timestamp": "2025-10-14T17:33:20.123456",
        "runtime_info": {"sd_model_checkpoint": "model_v1.safetensors [abc123def456]"},
        "resolved_template": {"prompt": PROMPT, "negative": NEGATIVE},
        "generation_params": {
            "mode": "combinatorial",
            "seed_mode": "progressive",
            "base_seed": 1000,
            "num_images": count,
            "total_combinations": count,
        },
        "api_params": {"steps": 30, "cfg_scale": 7.5, "width": 512, "height": 768},
        "variations": {"Expression": {"available": values, "used": values, "count": len(values)}},
    }
    document = {"snapshot": snapshot, "images": images, "status": "completed"}
    text = json.dumps(document, indent=2, ensure_ascii=False)
    (folder / "manifest.json").write_text(text, encoding="utf-8")


def ours(folder: Path) -> Figures:
    """Compute all statistics of the session."""
    found = SessionFolder(folder.name, folder, fingerprint_session(folder))
    statistics = compute_session_statistics(found, datetime.now(UTC))
    assert statistics.images_listed is not None
    assert statistics.seed_max is not None
    return {
        "expected": statistics.images_expected,
        "actual": statistics.images_actual,
        "listed": statistics.images_listed,
        "seed_max": statistics.seed_max,
    }


def ours_scan(folder: Path) -> Figures:
    """Count and date the images only."""
    return {"actual": len(scan_folder(folder, session_log()).names)}


def ours_manifest(folder: Path) -> Figures:
    """Read the manifest only."""
    parts = read_manifest(folder, session_log())
    assert parts is not None
    assert parts.images is not None
    assert parts.images.seed_max is not None
    return {"listed": len(parts.images.names), "seed_max": parts.images.seed_max}


def ours_truncated(folder: Path) -> Figures:
    """Read the manifest that ends in the middle."""
    parts = read_manifest(folder / "truncated", session_log())
    assert parts is not None
    assert parts.images is not None
    return {"salvaged": len(parts.images.names)}


def plain(folder: Path) -> Figures:
    """Do the same with the json module, and patterns for the files."""
    with (folder / "manifest.json").open(encoding="utf-8") as file:
        document = json.load(file)
    paths: list[Path] = []
    for suffix in ("png", "jpg", "jpeg", "webp"):
        paths.extend(folder.glob(f"*.{suffix}"))
    paths.sort(key=lambda path: path.stat().st_mtime)
    listed = {image["filename"] for image in document["images"]}
    present = {path.name for path in paths}
    assert not listed - present
    assert not present - listed
    return {
        "expected": document["snapshot"]["generation_params"]["num_images"],
        "actual": len(paths),
        "listed": len(listed),
        "seed_max": max(image["seed"] for image in document["images"]),
    }


def plain_manifest(folder: Path) -> Figures:
    """Read the manifest with the json module only."""
    with (folder / "manifest.json").open(encoding="utf-8") as file:
        document = json.load(file)
    images = document["images"]
    return {"listed": len(images), "seed_max": max(image["seed"] for image in images)}


def nothing(folder: Path) -> Figures:
    """Do nothing: what the interpreter and the modules take."""
    return {"exists": int(folder.exists())}


WAYS: dict[str, Callable[[Path], Figures]] = {
    "all statistics": ours,
    "the plain way: json module, glob": plain,
    "only the folder": ours_scan,
    "only the manifest": ours_manifest,
    "only the manifest, json module": plain_manifest,
    "only a truncated manifest": ours_truncated,
    "nothing: interpreter and modules": nothing,
}


def compare(count: int, turns: int, scratch: Path) -> None:
    """Measure every way over a session of so many images."""
    folder, small = scratch / f"20251014_173320-{count}", scratch / f"20251014_173320-{count}-small"
    for place, images in ((folder, count), (small, 3)):
        make_session(place, images)
        content = (place / "manifest.json").read_bytes()
        cut = place / "truncated" / "manifest.json"
        cut.parent.mkdir()
        cut.write_bytes(content[: len(content) * 9 // 10])
        os.utime(cut, (1_700_000_000, 1_700_000_000))
    calls = max(1, 2000 // count)
    found = {
        name: measure_apart(way, folder, warm_up=small, calls=calls, turns=turns)
        for name, way in WAYS.items()
    }
    known: Figures = {}
    for name, one in found.items():
        for figure, value in one.result.items():
            assert known.setdefault(figure, value) == value, f"{name} finds another {figure}"
    first = next(iter(found.values())).times.cpu
    rows = [
        [
            name,
            f"{one.times.cpu * 1e3:.2f}",
            f"{one.times.wall * 1e3:.2f}",
            f"{one.times.cpu / first:.2f}",
            f"{one.peak:.0f}",
        ]
        for name, one in found.items()
    ]
    size = (folder / "manifest.json").stat().st_size
    title = f"{count:,} images, manifest of {size / 1e6:.1f} MB"
    print_table(title, ("way", "CPU ms", "wall ms", "CPU ratio", "peak MiB"), rows)


def measure_headers(sample: Path, times: int = 2000) -> str:
    """Tell what reading one image's header takes, for an image with much beside its header."""
    cpu = time.process_time()
    for _ in range(times):
        read_image_header(sample)
    mean = (time.process_time() - cpu) / times
    return f"header of {sample.name} ({sample.stat().st_size:,} bytes): {mean * 1e6:.1f} µs CPU"


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[100, 1_000, 100_000])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--header", type=Path, nargs="*", default=[], help="images to open")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for count in arguments.images:
            compare(count, arguments.turns, Path(scratch))
    for sample in arguments.header:
        print(measure_headers(sample))


if __name__ == "__main__":
    main()
