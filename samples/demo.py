"""Runs the flows on the samples, as the printed commands would; `make demo` calls it.

    python samples/demo.py

The samples that are drawn, and all results, lie under VISIONFLOWS_HOME.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from deployments.cli.main import app
from deployments.cli.output.terminal import (
    PARTLY_FAILED,
    as_typed_here,
    print_plain,
    print_problem,
)
from storage.database.connection import open_database
from storage.errors import VisionflowsError
from storage.inference.collections import find_collection
from storage.inference.runs import list_runs
from storage.settings import get_settings

SAMPLES = Path(__file__).resolve().parent


def main() -> None:
    """Draw what is not kept as files, then run one command after the other in this process."""
    # What the output proposes to run next names this.
    command = Path(sys.executable).with_name("visionflows")
    here = Path.cwd()
    sys.argv[0] = str(command.relative_to(here) if command.is_relative_to(here) else command)
    drawn = get_settings().home / "samples"
    _draw(SAMPLES / "make_sessions.py", drawn / "sessions")
    _draw(SAMPLES / "mussels" / "draw_mussels.py", drawn / "mussels", "--pictures=12", "--seed=16")
    _show("run", "ingest-project", SAMPLES / "photographs", "--mode=link", "--project=photographs")
    _show("run", "quality-metrics", "--project=photographs")
    _show("run", "ingest-project", drawn / "mussels", "--project=mussels")
    _show("run", "prepare-training-set", "--project=mussels", "--task=segment")
    _show("run", "create-release", "--project=mussels", "--name=mussels-1", "--task=segment")
    _show("run", "build-release-stats", "--release=mussels-1", "--verify")
    _show("models", "add", SAMPLES / "mussels" / "mussels.onnx")
    _show("collections", "add", "mussels", "--project=mussels")
    for threshold in ("0.5", "0.8"):
        _show(
            "run",
            "collection-inference",
            "--collection=mussels",
            "--model=mussels",
            f"--threshold={threshold}",
        )
    _show("runs", "compare", *_run_ids("mussels", 0.5, 0.8))
    _show("runs", "evaluate", *_run_ids("mussels", 0.5), "--average-precision")
    _show("compute-stats", "--all", "--root", drawn / "sessions")
    print_plain("")
    print_plain("What was made is found with, for example:")
    for command in ("projects list", "runs list", "releases show mussels-1", "db shell"):
        print_plain(f"  {as_typed_here(f'visionflows {command}')}")
    print_plain("and seen in a browser, at http://127.0.0.1:4201, while this runs:")
    print_plain(f"  {as_typed_here('visionflows web')}")


def _draw(script: Path, folder: Path, *options: str) -> None:
    """Run a script that draws samples; again, it draws the same."""
    subprocess.run([sys.executable, str(script), str(folder), *options], check=True)


def _run_ids(collection: str, *thresholds: float) -> list[str]:
    """The ids of the runs over a collection at these thresholds."""
    database = open_database()
    runs = list_runs(database, collection_id=find_collection(database, collection).id)
    ids = {run.threshold: str(run.id) for run in runs}
    return [ids[threshold] for threshold in thresholds]


def _show(*arguments: str | Path) -> None:
    """Print a command, and run it in this process: Prefect is imported and started only once."""
    texts = [str(argument) for argument in arguments]
    print_plain("")
    print_plain(f"$ {as_typed_here('visionflows ' + shlex.join(texts))}")
    try:
        status = app(texts, standalone_mode=False)
    except VisionflowsError as error:
        print_problem(str(error))
        sys.exit(1)
    if status not in (None, 0, PARTLY_FAILED):
        sys.exit(status)


if __name__ == "__main__":
    main()
