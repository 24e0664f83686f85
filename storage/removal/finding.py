"""Which thing somebody means to remove, also where half of it has gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.database.connection import Database
from storage.database.names import no_such
from storage.database.stored_values import storable_text
from storage.database.tables.removals import RemovalNoun
from storage.errors import NotFoundError
from storage.inference.collections import find_collection
from storage.inference.evaluations import find_evaluation
from storage.inference.models import find_model
from storage.inference.runs import find_run
from storage.projects.projects import find_project
from storage.releases import find_release
from storage.settings import get_settings

MANIFEST_OF_SET = "manifest.parquet"


@dataclass(frozen=True)
class TrainingSetRecord:
    """A training set that lies where it was made; `made_at` is None where no job tells of it."""

    path: Path
    key: str | None
    projects: list[str]
    made_at: Any


def list_training_sets(database: Database) -> list[TrainingSetRecord]:
    """The training sets that were made here and are still there, by path."""
    found = {
        Path(row[0]): TrainingSetRecord(Path(row[0]), row[1], list(row[2] or ()), row[3])
        for row in database.rows(
            "SELECT DISTINCT ON (subject) subject, result->>'key', "
            "ARRAY(SELECT jsonb_array_elements_text(parameters->'projects')), completed_at "
            "FROM jobs WHERE kind = 'prepare-training-set' AND status = 'completed' "
            "ORDER BY subject, completed_at DESC"
        )
    }
    for manifest in get_settings().training_sets_folder.glob(f"[!.]*/{MANIFEST_OF_SET}"):
        found.setdefault(manifest.parent, TrainingSetRecord(manifest.parent, None, [], None))
    return [found[path] for path in sorted(found) if (path / MANIFEST_OF_SET).is_file()]


def find_training_set(database: Database, key: str) -> TrainingSetRecord:
    """A training set by its folder, or by the name of it.

    Raises:
        NotFoundError: there is none, or several have the name.
    """
    known = list_training_sets(database)
    path = Path(key).expanduser().absolute()
    named = [one for one in known if one.path == path] or [
        one for one in known if one.path.name == key
    ]
    if len(named) > 1:
        raise NotFoundError(
            f"Several training sets are called {key!r}; name its folder: "
            f"{', '.join(str(one.path) for one in named)}."
        )
    if not named:
        remedy = "`visionflows run prepare-training-set` makes one."
        raise no_such("training set", key, (one.path.name for one in known), remedy)
    return named[0]


def _find_session(database: Database, key: str) -> str:
    """A session that the database knows, also one of which nothing could be computed."""
    if not database.rows("SELECT 1 FROM session_metadata WHERE session_id = :key", key=key):
        raise NotFoundError(f"There is no session {key!r}; `visionflows sessions list` shows them.")
    return key


_FINDERS: dict[RemovalNoun, Callable[[Database, str], str]] = {
    RemovalNoun.PROJECT: lambda database, key: str(find_project(database, key).id),
    RemovalNoun.RELEASE: lambda database, key: str(find_release(database, key).id),
    RemovalNoun.SESSION: _find_session,
    RemovalNoun.COLLECTION: lambda database, key: str(find_collection(database, key).id),
    RemovalNoun.MODEL: lambda database, key: str(find_model(database, key).id),
    RemovalNoun.RUN: lambda database, key: str(find_run(database, key).id),
    RemovalNoun.EVALUATION: lambda database, key: str(find_evaluation(database, key).id),
    RemovalNoun.TRAINING_SET: lambda database, key: str(find_training_set(database, key).path),
}


def find_subject(database: Database, noun: RemovalNoun, key: str) -> str:
    """What stands in `removals` for a thing that is named as the commands do.

    Raises:
        NotFoundError: there is no such thing, and no removal of it that was broken off.
        InvalidInputError: several ids begin so.
    """
    try:
        return _FINDERS[noun](database, key)
    except NotFoundError:
        begun = database.rows(
            "SELECT subject FROM removals WHERE noun = CAST(:noun AS removal_noun) "
            "AND (name = :key OR subject = :key "
            "OR (noun IN ('run', 'evaluation') AND starts_with(subject, :key))) "
            "ORDER BY created_at LIMIT 1",
            noun=noun.value,
            key=storable_text(key),
        )
        if not begun:
            raise
        return str(begun[0][0])
