"""The quick part of `make soak`: each way to disturb is tried once, and readers get some inputs."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.comparing import Contents
from tests.faults.fuzzing import KINDS, fuzz
from tests.faults.laboratory import Laboratory
from tests.faults.trials import try_once


@pytest.fixture
def laboratory():
    made = Laboratory()
    yield made
    made.close()


@pytest.mark.services
def test_disturbed_and_run_again_it_is_as_if_nothing_had_been(laboratory):
    for number, victim in enumerate(["cancel in Prefect", "server"]):
        outcome = try_once(laboratory, "quality-metrics", victim, random.Random(number))
        assert not outcome.wrong, outcome


@pytest.mark.parametrize("kind", list(KINDS))
def test_damaged_inputs_are_read_or_refused(kind):
    count, findings = fuzz(kind, seed=1, inputs=60, seconds=60)
    assert (count, findings) == (60, [])


def test_only_ids_and_times_of_the_trial_are_no_difference(tmp_path: Path):
    def files(folder: Path, sharpness: float, seen: str) -> list[str]:
        place = folder / "snapshots" / f"run={uuid4()}"
        place.mkdir(parents=True)
        table = pa.table({"id": [str(uuid4())], "sharpness": [sharpness], "inference_ms": [2.5]})
        for stamp in ("20990101T000000.1Z", "20990101T000001.2Z"):
            pq.write_table(table, place / f"{stamp}_{uuid4()}.parquet")
        (folder / "meta.json").write_text(json.dumps({"at": seen, "ns": 4102444800000000000}))
        contents = Contents(known=(), began=datetime(2026, 1, 1, tzinfo=UTC))
        return sorted(contents._files(folder))

    first = files(tmp_path / "a", 0.5, "2099-01-01T00:00:00+00:00")
    assert first == files(tmp_path / "b", 0.5, "2098-05-01T10:00:00Z")
    assert first != files(tmp_path / "c", 0.6, "2099-01-01T00:00:00+00:00")
    assert first != files(tmp_path / "d", 0.5, "2025-01-01T00:00:00+00:00")
