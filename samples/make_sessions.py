"""Makes the generation sessions that show what compute-session-stats finds.

    python samples/make_sessions.py FOLDER

Writes seven folders of small pictures as AUTOMATIC1111 and a session generator leave them: whole
ones, one that was given up, seed sweeps, one whose manifest ends in the middle, and one without a
manifest. Run again, it writes the same files with the same times.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

DREAM = "dreamshaper_8.safetensors [879db523c3]"
REALISTIC = "realisticVisionV60.safetensors [15012c538f]"


def main() -> None:
    """Write all sessions below the folder that is named."""
    if len(sys.argv) != 2:
        sys.exit("usage: python samples/make_sessions.py FOLDER")
    root = Path(sys.argv[1])
    write_session(
        root / "20251014_173320-cats-in-every-mood",
        DREAM,
        {"Mood": ["happy", "sleepy", "angry"], "Light": ["morning", "candle"]},
        {"mode": "combinatorial", "max_images": 100},
    )
    write_session(
        root / "20251015_090500-castles",
        REALISTIC,
        {"Place": ["hill", "lake", "cliff", "town"], "Weather": ["fog", "sun", "storm"]},
        {"mode": "combinatorial", "num_images": 12, "total_combinations": 12},
        images=7,
        status="aborted",
    )
    write_session(
        root / "2025-10-16_210000_portrait-sweep",
        REALISTIC,
        {"Pose": ["looking up"]},
        {"mode": "random", "max_images": 16},
    )
    write_session(
        root / "20251018_080000-outfits-by-seed",
        DREAM,
        {"Outfit": ["coat", "dress", "kimono", "suit"]},
        {"mode": "combinatorial", "seed_list": [11, 22, 33, 44, 55]},
        images=9,
        status="ongoing",
    )
    cut = write_session(
        root / "20251020_221500-power-cut",
        DREAM,
        {"Animal": ["fox", "owl", "hare"], "Season": ["spring", "autumn", "winter"]},
        {"mode": "combinatorial", "num_images": 9},
        images=5,
    )
    manifest = cut / "manifest.json"
    text = manifest.read_bytes()
    manifest.write_bytes(text[: len(text) * 4 // 5])
    set_times(cut)
    write_session(
        root / "november" / "20251101_070000-teapots",
        REALISTIC,
        {"Glaze": ["blue", "celadon"], "Table": ["oak", "marble"]},
        {"mode": "combinatorial", "num_images": 4, "base_seed": 9_007_199_254_740_993},
    )
    write_session(
        root / "20251019_143000-without-a-manifest", DREAM, {"Boat": ["red", "blue"]}, {}, images=5
    )
    (root / "20251019_143000-without-a-manifest" / "manifest.json").unlink()
    set_times(root / "20251019_143000-without-a-manifest")


def write_session(
    folder: Path,
    model: str,
    variations: dict[str, list[str]],
    generation: dict[str, Any],
    *,
    images: int | None = None,
    status: str = "completed",
) -> Path:
    """Write the pictures and the manifest of one session; None images are all it promises."""
    folder.mkdir(parents=True, exist_ok=True)
    generation = {"seed_mode": "progressive", "base_seed": 1000, **generation}
    combinations = list(product(*variations.values()))
    promised = generation.get("max_images") if generation.get("mode") == "random" else None
    count = images if images is not None else (promised or len(combinations))
    template = f"a {folder.name[16:].replace('-', ' ')}, " + ", ".join(
        f"{{{name}}}" for name in variations
    )
    listed = []
    for number in range(count):
        values = dict(zip(variations, combinations[number % len(combinations)], strict=True))
        prompt = template.format(**values)
        seed = generation["base_seed"] + number
        name = f"{folder.name}_{number:04}.png"
        write_picture(folder / name, prompt, seed, model)
        listed.append({"filename": name, "seed": seed, "prompt": prompt, "variations": values})
    snapshot = {
        "version": "2.0",
        "timestamp": begun_at(folder).isoformat(),
        "runtime_info": {"sd_model_checkpoint": model},
        "resolved_template": {"prompt": template, "negative": "blurry, low quality"},
        "generation_params": generation,
        "api_params": {
            "width": 512,
            "height": 768,
            "steps": 28,
            "cfg_scale": 6.5,
            "sampler_name": "DPM++ 2M Karras",
        },
        "variations": {
            name: {"available": len(used), "used": used, "count": len(used)}
            for name, used in variations.items()
        },
    }
    document = {"snapshot": snapshot, "images": listed, "status": status}
    (folder / "manifest.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    set_times(folder)
    return folder


def write_picture(path: Path, prompt: str, seed: int, model: str) -> None:
    """Write a picture of one color that tells how it was made, as AUTOMATIC1111 does."""
    name, _, model_hash = model.removesuffix("]").partition(".safetensors [")
    texts = PngInfo()
    texts.add_text(
        "parameters",
        f"{prompt}\nNegative prompt: blurry, low quality\n"
        f"Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: {seed}, Size: 512x768, "
        f"Model hash: {model_hash}, Model: {name}, Version: v1.10.1",
    )
    color = tuple((seed * step) % 256 for step in (37, 91, 151))
    Image.new("RGB", (8, 12), color).save(path, pnginfo=texts)


def begun_at(folder: Path) -> datetime:
    """The time in the name of a session's folder."""
    date = folder.name[:17].replace("-", "") if folder.name[4] == "-" else folder.name[:15]
    return datetime.strptime(date, "%Y%m%d_%H%M%S")


def set_times(folder: Path) -> None:
    """Make it look as if a picture was written every four seconds, and the manifest at last."""
    begun = begun_at(folder)
    files = sorted(folder.iterdir(), key=lambda path: (path.suffix == ".json", path.name))
    for number, path in enumerate((*files, folder), start=1):
        then = (begun + timedelta(seconds=4 * number)).timestamp()
        os.utime(path, (then, then))


if __name__ == "__main__":
    main()
