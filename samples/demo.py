"""Runs every flow on the samples, as the printed commands would; `make demo` calls it.

    python samples/demo.py

The samples that are drawn, and all results, lie under VISIONFLOWS_HOME.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from deployments.command_line import app
from deployments.terminal import print_plain, print_problem
from storage.errors import VisionflowsError
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
    _show("run", "create-release", "--project=mussels", "--name=mussels-1", "--task=segment")
    _show("compute-stats", "--all", "--root", drawn / "sessions")


def _draw(script: Path, folder: Path, *options: str) -> None:
    """Run a script that draws samples; again, it draws the same."""
    subprocess.run([sys.executable, str(script), str(folder), *options], check=True)


def _show(*arguments: str | Path) -> None:
    """Print a command, and run it in this process: Prefect is imported and started only once."""
    texts = [str(argument) for argument in arguments]
    print_plain("")
    print_plain(f"$ visionflows {shlex.join(texts)}")
    try:
        status = app(texts, standalone_mode=False)
    except VisionflowsError as error:
        print_problem(str(error))
        sys.exit(1)
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()
