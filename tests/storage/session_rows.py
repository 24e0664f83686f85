"""Sessions in the database without any folder, for tests of storage alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from storage.database.connection import Database
from storage.records import SessionStatsSource
from storage.sessions.sessions import (
    FolderRegistration,
    StoredSession,
    register_session_folders,
    store_sessions,
)

ROOT = "/sessions"
BEGUN = datetime(2025, 1, 1, tzinfo=UTC)


def stats(number: int = 0, **changed: Any) -> dict[str, Any]:
    """Columns of one session; every model, sweep and completion occurs."""
    expected, actual = 10, number % 11
    values: dict[str, Any] = {
        "session_path": f"{ROOT}/{number}",
        "sd_model": f"model_{number % 20}.safetensors",
        "images_expected": expected,
        "images_actual": actual,
        "completion_percentage": 100.0 * actual / expected,
        "is_seed_sweep": number % 7 == 0,
        "placeholders_json": {"Mood": 2},
        "variations_summary_json": {"Mood": ["glad", "sad"]},
        "session_created_at": BEGUN + timedelta(hours=number),
        "first_image_created_at": None,
        "stats_computed_at": BEGUN,
        "stats_version": 1,
        "stats_source": SessionStatsSource.MANIFEST,
        "is_ongoing": False,
        "look_again": False,
        "images_sampled": 0,
        "problems": [],
    }
    return {**values, **changed}


def add_sessions(
    database: Database, sessions: Iterable[tuple[str, dict[str, Any]]], root: str = ROOT
) -> None:
    """Register and store sessions by their relative paths."""
    rows = dict(sessions)
    with database.transaction() as connection:
        ids = register_session_folders(connection, root, FolderRegistration(list(rows), {}, [], []))
        store_sessions(
            connection,
            [StoredSession(ids[path], values, (1, 2, 3)) for path, values in rows.items()],
        )
        connection.execute(text("ANALYZE session_metadata, session_folders, session_stats"))
