"""Collections of the sample pictures, the sample model, and the flow run in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from storage.database.connection import Database
from storage.inference.models import ModelRecord, add_model
from storage.inference.runs import RunRecord, list_runs
from tasks.inference.collection_sources import FolderSource
from tasks.inference.collection_steps import gather_collection
from tasks.inference.runs.steps import describe_model
from tests.tasks.inference.conftest import MUSSELS, PICTURES

Rows = list[dict[str, Any]]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with six of the sample pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in PICTURES[:6]:
        shutil.copy(path, folder)
    return folder


@pytest.fixture
def gather(database: Database) -> Callable[..., Any]:
    """Gathers a folder as the collection `bay`; again brings it up to date."""

    def run(folder: Path, name: str = "bay") -> Any:
        return gather_collection(database, name, FolderSource(str(folder)), workers=2)

    return run


@pytest.fixture
def mussels(database: Database) -> ModelRecord:
    """The sample model as ONNX file, registered."""
    return add_model(database, describe_model(MUSSELS / "mussels.onnx"), name=None)


@pytest.fixture
def infer(prefect_client: str, database: Database, mussels: ModelRecord) -> Callable[..., Any]:
    """Runs the flow over `bay` with the sample model; gives its final state."""
    from flows.collection_inference import collection_inference

    def run(threshold: float = 0.5, **parameters: Any) -> Any:
        values = {"collection": "bay", "model": "mussels", **parameters}
        return collection_inference(threshold=threshold, return_state=True, **values)

    return run


@pytest.fixture
def the_run(database: Database) -> Callable[[], RunRecord]:
    """The run that was started last."""
    return lambda: list_runs(database, limit=1)[0]


@pytest.fixture
def result_rows(database: Database) -> Callable[[RunRecord], Rows]:
    """The results of a run by image name, without what differs between equal runs."""

    def read(run: RunRecord) -> Rows:
        with database.transaction() as connection:
            rows = connection.execute(
                text(
                    "SELECT c.name, r.live_count, r.dead_count, r.class_counts, r.error_code, "
                    "r.error_msg, r.image_id FROM image_results r JOIN collection_images c "
                    "ON c.shared_image_id = r.image_id AND c.collection_id = :collection "
                    "WHERE r.run_id = :run ORDER BY c.name"
                ),
                {"run": run.id, "collection": run.collection_id},
            ).mappings()
            return [dict(row) for row in rows]

    return read


@pytest.fixture
def polygon_files(home: Path) -> Callable[[RunRecord], dict[str, Any]]:
    """The polygon files of a run by image id."""

    def read(run: RunRecord) -> dict[str, Any]:
        folder = home / "runs" / str(run.id) / "polygons"
        assert not list(folder.glob(".*")), "nothing is left of writing"
        return {path.stem: json.loads(path.read_bytes()) for path in folder.glob("*.json")}

    return read
