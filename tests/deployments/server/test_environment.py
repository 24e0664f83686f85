"""What Prefect is told before it is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.services

PRINT_ENVIRONMENT = """
import os, sys
from deployments.server.environment import prepare_prefect_environment
from storage.settings import get_settings
prepare_prefect_environment(get_settings(), log_level="ERROR")
assert "prefect" not in sys.modules
for name in sys.argv[1:]:
    print(os.environ[name])
"""


@pytest.fixture
def run(tmp_path):
    """Runs Python without the variables that this test run has set for Prefect."""

    def start(program, *arguments, **variables):
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PREFECT_") and not name.endswith("_NUM_THREADS")
        }
        kept.pop("DO_NOT_TRACK", None)
        kept["VISIONFLOWS_HOME"] = str(tmp_path / "home")
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**kept, **variables},
        )

    return start


def lines(process):
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return output.splitlines()


def test_nothing_calls_out_and_prefect_has_a_home_of_its_own(run, tmp_path):
    assert lines(
        run(
            PRINT_ENVIRONMENT,
            "DO_NOT_TRACK",
            "PREFECT_SERVER_ANALYTICS_ENABLED",
            "PREFECT_SERVER_API_HOST",
            "PREFECT_HOME",
            "PREFECT_LOGGING_LEVEL",
            "OMP_NUM_THREADS",
        )
    ) == ["1", "false", "127.0.0.1", str(tmp_path / "home" / "prefect"), "ERROR", "1"]
    assert (tmp_path / "home" / "prefect").is_dir()


def test_variables_that_the_person_has_set_win(run, tmp_path):
    own = {
        "PREFECT_HOME": str(tmp_path / "own"),
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_SERVER_API_HOST": "0.0.0.0",
        "OMP_NUM_THREADS": "7",
        "DO_NOT_TRACK": "0",
    }
    assert lines(run(PRINT_ENVIRONMENT, *own, **own)) == list(own.values())
    assert (tmp_path / "own").is_dir()
