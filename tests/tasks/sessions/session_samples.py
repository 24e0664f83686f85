"""Folders, manifests and image files for the tests of sessions."""

from __future__ import annotations

import json
import os
import struct
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.sessions.computation import compute_session_statistics
from tasks.sessions.folders.finding import fingerprint_session
from tasks.sessions.statistics import SessionFolder, SessionOptions
from tests.places import DATA

SD_PARSERS = DATA / "sd-parsers" / "tests" / "resources"
COMFYUI = DATA / "comfyui-examples"

NOW = datetime(2025, 10, 20, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=2)
IN_UTC = SessionOptions(time_zone=UTC)


def snapshot(**changes) -> dict:
    """The snapshot of a combinatorial session in the keys of the generator."""
    return {
        "version": "2.0",
        "timestamp": "2025-10-14T17:33:20.123456",
        "runtime_info": {"sd_model_checkpoint": "animefull_v1.safetensors [abc123def456]"},
        "resolved_template": {
            "prompt": "masterpiece, {Expression}, {Angle}",
            "negative": "low quality",
        },
        "generation_params": {
            "mode": "combinatorial",
            "seed_mode": "progressive",
            "base_seed": 42,
            "num_images": 6,
            "total_combinations": 6,
        },
        "api_params": {
            "steps": 30,
            "cfg_scale": 7.5,
            "width": 512,
            "height": 768,
            "sampler_name": "DPM++ 2M Karras",
            "scheduler": "karras",
        },
        "variations": {
            "Expression": {
                "available": ["happy", "sad", "angry", "calm"],
                "used": ["happy", "sad", "angry"],
                "count": 4,
            },
            "Angle": {"available": ["front", "side"], "used": ["front", "side"], "count": 2},
        },
        **changes,
    }


def listed_images(count: int) -> list[dict]:
    return [
        {
            "filename": f"img_{number:04d}.png",
            "seed": 42 + number,
            "prompt": 'masterpiece, "quoted" } ] {, é',
            "negative_prompt": "low quality",
            "applied_variations": {"Expression": "happy", "Angle": "front"},
        }
        for number in range(count)
    ]


def manifest(count: int = 6, **changes) -> dict:
    return {
        "snapshot": snapshot(),
        "images": listed_images(count),
        "status": "completed",
        **changes,
    }


def make_session(
    folder: Path, document: object = None, images: int = 0, written: datetime = LONG_AGO
) -> Path:
    """Make a folder with empty images, and a manifest where a document (or bytes) is given."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(images):
        (folder / f"img_{number:04d}.png").touch()
    if isinstance(document, bytes):
        (folder / "manifest.json").write_bytes(document)
    elif document is not None:
        text = json.dumps(document, indent=2, ensure_ascii=False)
        (folder / "manifest.json").write_text(text, encoding="utf-8")
    set_times(folder, written)
    return folder


def set_times(folder: Path, written: datetime) -> None:
    seconds = written.timestamp()
    for path in (*folder.iterdir(), folder):
        os.utime(path, (seconds, seconds), follow_symlinks=False)


def found(folder: Path) -> SessionFolder:
    return SessionFolder(folder.name, folder, fingerprint_session(folder))


def compute(folder: Path, now: datetime = NOW, options: SessionOptions = IN_UTC):
    return compute_session_statistics(found(folder), now, options)


def codes_of(statistics) -> set[str]:
    return {str(problem.code) for problem in statistics.problems}


def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
    """A chunk of a PNG; with another length than its own if one is given."""
    size = len(data) if length is None else length
    return struct.pack(">I", size) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, size: tuple[int, int] = (8, 6), colour: int = 2) -> bytes:
    """A PNG whose pixels are none: nobody is to decode them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, colour, 0, 0, 0))
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", header, *chunks, chunk(b"IDAT", b"no pixels"), chunk(b"IEND", b"")]
    )


def text_chunk(keyword: str, text: str) -> bytes:
    return chunk(b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("utf-8"))
