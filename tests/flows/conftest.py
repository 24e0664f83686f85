"""Projects of real photographs, and the flow run in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from storage.database.connection import Database
from tests.places import DATA
from tests.session_folders import make_documented_sessions


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """The real photographs whose answers are known, in one folder."""
    folder = tmp_path / "photographs"
    for name in ("cleanvision", "davis-frames", "exif-orientation", "dark-retinexnet"):
        shutil.copytree(DATA / name, folder / name)
    shutil.copytree(DATA / "imagededup" / "tests" / "data" / "mixed_images", folder / "imagededup")
    return folder


@pytest.fixture
def small_photographs(tmp_path: Path) -> Path:
    """Some two dozen small photographs, near-duplicates among them."""
    folder = tmp_path / "small"
    frames = DATA / "davis-frames/examples/label-transformers/bounding-boxes/data/JPEGImages"
    shutil.copytree(frames, folder / "frames")
    shutil.copytree(DATA / "dark-retinexnet" / "data", folder / "dark")
    return folder


Rows = list[dict[str, Any]]


@pytest.fixture
def quality_rows(database: Database) -> Callable[[str], Rows]:
    """All columns that decide, of all images of a project, by relative path."""

    def read(project: str) -> Rows:
        with database.transaction() as connection:
            found = connection.execute(
                text(
                    "SELECT q.* FROM image_quality q JOIN projects p ON p.id = q.project_id "
                    'WHERE p.name = :name ORDER BY q.relative_path COLLATE "C"'
                ),
                {"name": project},
            ).mappings()
            return [dict(row) for row in found]

    return read


@pytest.fixture
def flow_runner(prefect_client: str, database: Database) -> Iterator[Callable[..., Any]]:
    """Runs quality-metrics in this process and gives its final state."""
    from flows.quality_metrics import quality_metrics

    def run(project: str, **parameters: Any) -> Any:
        return quality_metrics(project=project, return_state=True, **parameters)

    yield run


@pytest.fixture
def ingest(prefect_client: str, database: Database) -> Callable[..., Any]:
    """Runs ingest-project in this process and gives its final state."""
    from flows.ingest_project import ingest_project

    def run(source: Path | None = None, project: str | None = None, **parameters: Any) -> Any:
        named = None if source is None else str(source)
        return ingest_project(source=named, project=project, return_state=True, **parameters)

    return run


@pytest.fixture
def ingested(ingest: Callable[..., Any]) -> Callable[..., Any]:
    """Runs ingest-project for one project; its report."""

    def run(*arguments: Any, **parameters: Any) -> Any:
        state = ingest(*arguments, **parameters)
        assert state.is_completed(), state.message
        (report,) = state.result()
        return report

    return run


@pytest.fixture
def refused(ingest: Callable[..., Any]) -> Callable[..., str]:
    """Runs ingest-project, which is refused; the message."""

    def run(*arguments: Any, **parameters: Any) -> str:
        state = ingest(*arguments, **parameters)
        assert state.is_failed(), state.message
        return str(state.result(raise_on_failure=False))

    return run


@pytest.fixture
def image_rows(database: Database) -> Callable[..., Rows]:
    """The images of a project by relative path, without ids and times."""

    def read(project: str) -> Rows:
        with database.transaction() as connection:
            found = connection.execute(
                text(
                    "SELECT i.relative_path, c.sha256, c.width, c.height, i.state::text, i.split, "
                    "i.is_labeled, i.label_path, i.label_format, i.label_count, i.file_size, "
                    "o.relative_path AS generated_from, i.generation->>'key' AS generated_by "
                    "FROM project_images i JOIN projects p ON p.id = i.project_id "
                    "JOIN shared_images c ON c.id = i.shared_image_id "
                    "LEFT JOIN project_images o ON o.id = i.generated_from_id "
                    'WHERE p.name = :name ORDER BY i.relative_path COLLATE "C"'
                ),
                {"name": project},
            ).mappings()
            return [dict(row) for row in found]

    return read


@pytest.fixture
def sessions_root(tmp_path: Path) -> Path:
    """A folder for sessions."""
    root = tmp_path / "sessions"
    root.mkdir()
    return root


@pytest.fixture
def documented(sessions_root: Path) -> Path:
    """The documented examples."""
    make_documented_sessions(sessions_root)
    return sessions_root


@pytest.fixture
def session_rows(database: Database) -> Callable[[], dict[str, dict[str, Any]]]:
    """All columns of all sessions by their ids."""

    def read() -> dict[str, dict[str, Any]]:
        with database.transaction() as connection:
            rows = connection.execute(text("SELECT * FROM sessions")).mappings()
            return {row["session_id"]: dict(row) for row in rows}

    return read


@pytest.fixture
def image_ids(database: Database) -> Callable[[str], dict[str, Any]]:
    """The id of each image of a project by relative path."""

    def read(project: str) -> dict[str, Any]:
        with database.transaction() as connection:
            found = connection.execute(
                text(
                    "SELECT i.relative_path, i.id FROM project_images i "
                    "JOIN projects p ON p.id = i.project_id WHERE p.name = :name"
                ),
                {"name": project},
            )
            return {row[0]: row[1] for row in found}

    return read


@pytest.fixture
def session_flow(
    prefect_client: str, database: Database, sessions_root: Path
) -> Callable[..., Any]:
    """Runs compute-session-stats in this process and gives its final state."""
    from flows.compute_session_stats import compute_session_stats

    def run(**parameters: Any) -> Any:
        given = {"sessions_root": str(sessions_root), **parameters}
        return compute_session_stats(return_state=True, **given)

    return run


@pytest.fixture
def at_instant(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[str, int, bool, Callable[[], object]], None]]:
    """Calls a function right before or after a step is called for the n-th time; once.

    A step is named by its module and the name that the module calls it by.
    """
    reached: list[int] = []

    def arrange(place: str, number: int, after: bool, change: Callable[[], object]) -> None:
        name, _, step = place.rpartition(".")
        module = import_module(name)
        calls: list[int] = []
        original = getattr(module, step)

        def disturbed(*arguments: Any, **parameters: Any) -> Any:
            calls.append(1)
            is_now = len(calls) == number
            reached.extend(calls[:is_now])
            if is_now and not after:
                change()
            result = original(*arguments, **parameters)
            if is_now and after:
                change()
            return result

        monkeypatch.setattr(module, step, disturbed)

    yield arrange
    assert reached, "the instant has come"
