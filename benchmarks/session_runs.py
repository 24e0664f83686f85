"""The whole flow compute-session-stats over many sessions, and again when nothing has changed.

    python -m benchmarks.session_runs [--sessions 10000] [--images 100] [--workers 2] [--repeat 2]

Makes a tree of sessions with manifests as generators write them, then takes turns: read every
session the plain way (the json module and one pattern per suffix); compute all statistics without
Prefect and database; run the flow on empty tables; run it again; only look at every folder and
manifest. Prints CPU and wall times with their ratios, and how long listing takes.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    Stopwatch,
    parse_arguments,
    peak_memory,
    print_times,
    running_prefect,
    scratch_home,
)

ALONE = "computing alone, no Prefect, no database"


def make_sessions(root: Path, count: int, images: int) -> list[Path]:
    """Write sessions of empty images, an hour old; every third lacks an image."""
    root.mkdir()
    then = time.time() - 3600
    folders = []
    for number in range(count):
        began = f"{number // 3600:02}{number // 60 % 60:02}{number % 60:02}"
        folder = root / f"20251014_{began}-benchmark"
        folder.mkdir()
        names = [f"{folder.name}_{image:04}.png" for image in range(images)]
        for name in names[: images - (number % 3 == 0)]:
            os.close(os.open(folder / name, os.O_CREAT | os.O_WRONLY))
            os.utime(folder / name, (then, then))
        manifest = folder / "manifest.json"
        manifest.write_text(json.dumps(document(number, names), indent=1), encoding="utf-8")
        for path in (manifest, folder):
            os.utime(path, (then, then))
        folders.append(folder)
    return folders


def document(number: int, names: list[str]) -> dict[str, Any]:
    """A manifest as generators write it; twenty models, every seventh session a sweep."""
    moods = [f"mood {mood}" for mood in range(1 if number % 7 == 0 else 10)]
    snapshot = {
        "version": "2.0",
        "timestamp": "2025-10-14T17:33:20",
        "runtime_info": {"sd_model_checkpoint": f"model_{number % 20}.safetensors [abc123def456]"},
        "resolved_template": {"prompt": "a {Mood} cat, {Angle}", "negative": "blurry"},
        "generation_params": {
            "mode": "combinatorial",
            "seed_mode": "progressive",
            "base_seed": 1000,
            "num_images": len(names),
        },
        "api_params": {"steps": 30, "cfg_scale": 7.5, "width": 512, "height": 768},
        "variations": {
            key: {"available": used, "used": used, "count": len(used)}
            for key, used in (("Mood", moods), ("Angle", ["front", "side"][: len(moods)]))
        },
    }
    listed = [
        {
            "filename": name,
            "seed": 1000 + image,
            "prompt": "a happy cat, front, soft light, masterpiece, best quality, film grain",
            "negative_prompt": "blurry, low quality, watermark",
            "applied_variations": {"Mood": moods[0], "Angle": "front"},
        }
        for image, name in enumerate(names)
    ]
    return {"snapshot": snapshot, "images": listed, "status": "completed"}


def read_plainly(folders: list[Path]) -> int:
    """Read every manifest and count every folder as everybody writes it; the number of images."""
    actual = 0
    for folder in folders:
        with (folder / "manifest.json").open(encoding="utf-8") as file:
            listed = {image["filename"] for image in json.load(file)["images"]}
        paths: list[Path] = []
        for suffix in ("png", "jpg", "jpeg", "webp"):
            paths.extend(folder.glob(f"*.{suffix}"))
        paths.sort(key=lambda path: path.stat().st_mtime)
        assert {path.name for path in paths} <= listed
        actual += len(paths)
    return actual


def compute_alone(folders: list[Path]) -> int:
    """Compute all statistics in one thread; the number of images."""
    from tasks.sessions.computation import compute_session_statistics
    from tasks.sessions.folders.finding import fingerprint_session
    from tasks.sessions.statistics import SessionFolder

    now = datetime.now(UTC)
    return sum(
        compute_session_statistics(
            SessionFolder(folder.name, folder, fingerprint_session(folder)), now
        ).images_actual
        for folder in folders
    )


def look(folders: list[Path]) -> None:
    """What no search for changes can be faster than."""
    for folder in folders:
        os.stat(folder)  # noqa: PTH116 - the fastest way
        os.lstat(f"{folder}/manifest.json")


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments(__doc__, sessions=10_000, images=100, workers=2, repeat=2)
    with scratch_home(arguments.workers) as folder:
        folders = make_sessions(folder / "sessions", arguments.sessions, arguments.images)
        run(folder / "sessions", folders, arguments.repeat)


def run(root: Path, folders: list[Path], repeat: int) -> None:
    """Take turns and print the tables."""
    watch = Stopwatch()
    with running_prefect():
        from flows.compute_session_stats import compute_session_stats
        from storage.database.connection import open_database
        from storage.jobs.records import list_jobs

        database = open_database()
        for _ in range(repeat):
            with database.transaction() as connection:
                connection.exec_driver_sql("TRUNCATE session_metadata, jobs CASCADE")
            images = watch.measure("json module and patterns", lambda: read_plainly(folders))
            assert watch.measure(ALONE, lambda: compute_alone(folders)) == images
            for way, computed in (
                ("whole flow, all new", len(folders)),
                ("whole flow, nothing changed", 0),
            ):
                with watch.timed(way):
                    state = compute_session_stats(str(root), return_state=True)
                assert state.is_completed(), state.message
                assert list_jobs(database)[0].processed == computed
            watch.measure("two calls of stat per session", lambda: look(folders))
    title = f"{len(folders)} sessions, {images} images; of one session"
    print_times(title, watch.best, ALONE, unit=len(folders))
    print(f"peak memory {peak_memory():.0f} MiB, with Prefect\n")
    print_listing(root)


def print_listing(root: Path) -> None:
    """Time every filter of the list, with the database's part."""
    from storage.database.connection import open_database
    from storage.sessions.queries import SessionFilter, list_models, list_sessions

    database = open_database()
    filters = {
        "the newest 50": SessionFilter(),
        "one model": SessionFilter(model="model_3"),
        "incomplete": SessionFilter(incomplete=True),
        "sweeps": SessionFilter(sweeps=True),
        "since a time": SessionFilter(since=datetime(2025, 10, 14, 2, tzinfo=UTC)),
        "all four": SessionFilter(
            model="model_3",
            incomplete=True,
            sweeps=True,
            since=datetime(2025, 10, 14, tzinfo=UTC),
        ),
        "one root": SessionFilter(root=str(root)),
    }
    watch = Stopwatch()
    for title, chosen in filters.items():
        for _ in range(20):
            watch.measure(title, partial(list_sessions, database, chosen))
    watch.measure("models", lambda: list_models(database))
    print_times("listed", watch.best, "the newest 50")


if __name__ == "__main__":
    main()
