"""Folders of generated sessions, as old as the tests want them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Older than what counts as still being written.
OLD_SECONDS = 3600.0

Manifest = dict[str, Any]


def manifest(
    *,
    mode: str = "combinatorial",
    variations: dict[str, list[str]] | None = None,
    model: str = "dreamshaper_8.safetensors [879db523c3]",
    status: str | None = "completed",
    **generation: Any,
) -> Manifest:
    """A manifest in the documented shape."""
    snapshot = {
        "version": "2.0",
        "timestamp": "2025-10-14T17:33:20",
        "runtime_info": {"sd_model_checkpoint": model},
        "resolved_template": {"prompt": "a {Mood} cat", "negative": "blurry"},
        "generation_params": {"mode": mode, "seed_mode": "progressive", **generation},
        "api_params": {
            "width": 512,
            "height": 768,
            "steps": 30,
            "cfg_scale": 7.5,
            "sampler_name": "DPM++ 2M Karras",
        },
        "variations": {
            name: {"available": len(used), "used": used, "count": len(used)}
            for name, used in (variations or {}).items()
        },
    }
    document: Manifest = {"snapshot": snapshot, "images": []}
    return document if status is None else {**document, "status": status}


# Three documented examples: 3 x 2 combinations, a seed sweep, 12 x 20 with a list of seeds.
COMBINATIONS = manifest(
    variations={"Expression": ["happy", "sad", "angry"], "Angle": ["front", "side"]},
    seed_base=1000,
    max_images=100,
)
SWEEP = manifest(
    mode="random", variations={"Pose": ["standing"]}, seed_base=42, max_images=50, status=None
)
SEED_LIST = manifest(
    variations={"Outfit": [f"outfit {number}" for number in range(12)]},
    seed_list=list(range(20)),
    status="aborted",
)


def make_session(
    root: Path,
    name: str,
    content: Manifest | bytes | None = None,
    images: int = 0,
    *,
    age: float = OLD_SECONDS,
) -> Path:
    """Write a session with a manifest (or none) and so many images, all of the same age."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(images):
        (folder / f"image_{number:04}.png").write_bytes(b"")
    if content is not None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / "manifest.json").write_bytes(data)
    set_age(folder, age)
    return folder


def set_age(folder: Path, age: float = OLD_SECONDS) -> None:
    """Make a folder and its files look as if nobody had written to them for so many seconds."""
    then = time.time() - age
    for path in (*folder.iterdir(), folder):
        os.utime(path, (then, then))


def make_documented_sessions(root: Path) -> None:
    """Write the three documented examples: complete, 40 % of a sweep, 25 % of a list of seeds."""
    make_session(root, "20251014_173320-combinations", COMBINATIONS, 6)
    make_session(root, "2025-10-15_080000_sweep", SWEEP, 20)
    make_session(root, "seed list", SEED_LIST, 60)


def counts(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The figures that decide of a row: expected, actual, completion, sweep."""
    names = ("images_expected", "images_actual", "completion_percentage", "is_seed_sweep")
    return tuple(row[name] for name in names)
