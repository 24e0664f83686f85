"""The whole flow compute-session-stats over many sessions, and again when nothing has changed.

    python benchmarks/session_runs.py [--sessions 10000] [--images 100] [--workers 2] [--repeat 2]

Makes a tree of sessions with manifests as generators write them, then takes turns: read every
session the plain way (the json module and one pattern per suffix); compute all statistics without
Prefect and database; run the flow on empty tables; run it again; only look at every folder and
manifest. Prints CPU and wall times with their ratios, and how long listing takes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

WAYS = {
    "plain": "json module and patterns",
    "compute": "computing alone, no Prefect, no database",
    "flow": "whole flow, all new",
    "unchanged": "whole flow, nothing changed",
    "look": "two calls of stat per session",
}


@dataclass
class Turn:
    """One measured way of going through all sessions."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@contextmanager
def timed(turn: Turn) -> Iterator[None]:
    """Add the wall and CPU time of a block; CPU of this process, all its threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    turn.wall.append(time.perf_counter() - wall)
    turn.cpu.append(time.process_time() - cpu)


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
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="visionflows-benchmark-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)  # root's embedded PostgreSQL runs as another user
        os.environ.update(
            VISIONFLOWS_HOME=str(folder / "home"),
            VISIONFLOWS_POSTGRESQL_FOLDER=str(folder / "postgresql"),
            VISIONFLOWS_WORKERS=str(arguments.workers),
        )
        folders = make_sessions(folder / "sessions", arguments.sessions, arguments.images)
        run(folder / "sessions", folders, arguments.repeat)


def run(root: Path, folders: list[Path], repeat: int) -> None:
    """Take turns and print the tables."""
    from deployments.server.environment import prepare_prefect_environment
    from storage.settings import get_settings

    prepare_prefect_environment(get_settings(), log_level="ERROR")
    logging.disable(logging.WARNING)
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.compute_session_stats import compute_session_stats
    from storage.database.connection import open_database
    from storage.jobs.records import list_jobs

    database = open_database()
    with get_client(sync_client=True) as client:
        client.hello()  # the temporary server starts here, outside every figure
    turns = {way: Turn() for way in WAYS}
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        for _ in range(repeat):
            with database.transaction() as connection:
                connection.exec_driver_sql("TRUNCATE session_metadata, jobs CASCADE")
            with timed(turns["plain"]):
                images = read_plainly(folders)
            with timed(turns["compute"]):
                assert compute_alone(folders) == images
            for way, computed in (("flow", len(folders)), ("unchanged", 0)):
                with timed(turns[way]):
                    state = compute_session_stats(str(root), return_state=True)
                assert state.is_completed(), state.message
                assert list_jobs(database)[0].processed == computed
            with timed(turns["look"]):
                look(folders)
    print(f"{len(folders)} sessions, {images} images")
    print(f"{'way':<44}{'CPU s':>8}{'wall s':>8}{'CPU ms/session':>16}{'of computing':>14}")
    alone = min(turns["compute"].cpu)
    for way, title in WAYS.items():
        wall, cpu = min(turns[way].wall), min(turns[way].cpu)
        print(
            f"{title:<44}{cpu:>8.2f}{wall:>8.2f}{1000 * cpu / len(folders):>16.3f}"
            f"{cpu / alone:>14.3f}"
        )
    print(
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB, with Prefect"
    )
    print()
    print_listing(root)


def print_listing(root: Path) -> None:
    """Time every filter of the list, with the database's part."""
    from storage.database.connection import open_database
    from storage.session_queries import SessionFilter, list_models, list_sessions

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
    print(f"{'listed':<20}{'wall ms':>10}{'rows':>6}")
    for title, chosen in filters.items():
        best, rows = float("inf"), 0
        for _ in range(20):
            started = time.perf_counter()
            rows = len(list_sessions(database, chosen))
            best = min(best, time.perf_counter() - started)
        print(f"{title:<20}{1000 * best:>10.2f}{rows:>6}")
    started = time.perf_counter()
    rows = len(list_models(database))
    print(f"{'models':<20}{1000 * (time.perf_counter() - started):>10.2f}{rows:>6}")


if __name__ == "__main__":
    main()
