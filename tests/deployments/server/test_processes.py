"""What the processes of the stack are told: the settings of the command that starts them."""

from __future__ import annotations

from pathlib import Path

from deployments.server.processes import settings_as_environment
from storage.settings import Settings, TaskRunnerKind


def test_settings_that_were_given_reach_the_processes_as_they_are(monkeypatch):
    monkeypatch.delenv("VISIONFLOWS_SERVER_IDLE_MINUTES")
    given = Settings(
        home=Path("/a b/ä"),
        data_roots=(Path("/data/one"), Path("/data/two and a half")),
        schedules={"quality-nightly": "0 3 * * *"},
        task_runner=TaskRunnerKind.DASK,
        workers=3,
        max_image_seconds=1.5,
    )
    told = settings_as_environment(given)
    assert set(told) == {
        f"VISIONFLOWS_{name}"
        for name in ("HOME", "DATA_ROOTS", "SCHEDULES", "TASK_RUNNER", "WORKERS")
    } | {"VISIONFLOWS_MAX_IMAGE_SECONDS"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert Settings() == given
