"""What `make demo` runs, as a process of its own."""

from __future__ import annotations

import subprocess
import sys

from tests.places import ROOT

DEMO = ROOT / "samples" / "demo.py"


def test_the_demo_shows_every_flow_and_can_be_repeated(prefect_client, home):
    def run():
        done = subprocess.run(
            [sys.executable, str(DEMO)], capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [" ".join(line.split()) for line in done.stdout.splitlines()]

    first = run()
    assert any(line.startswith("29 measured and 2 failed in this run") for line in first)
    # As samples/mussels/pictures/counts.json says.
    assert "0 live polygon 29 10 23 6 29" in first
    assert "1 dead polygon 18 9 15 3 18" in first
    place = first.index("mussels, mussels at 320 pixels, threshold 0.5")
    assert any("12 of 12 images done, 0 failed" in line for line in first[place : place + 4])
    assert any("52 images, 67 expected; 3 incomplete" in line for line in first)
    again = run()
    assert _commands(again) == _commands(first) != []
    assert any(line.startswith("0 measured and 0 failed in this run") for line in again)
    assert any("0 computed and 0 failed in this run, 7 unchanged" in line for line in again)


def _commands(lines):
    """The commands that do not name a run."""
    return [
        line
        for line in lines
        if line.startswith("$ VISIONFLOWS_HOME=") and "runs compare" not in line
    ]
