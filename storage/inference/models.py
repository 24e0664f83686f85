"""Registered models in the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from storage.database.connection import Database, execute
from storage.errors import InvalidInputError, NotFoundError
from storage.files.places import place_of


@dataclass(frozen=True)
class NewModel:
    """Weights that are to be registered."""

    weights_path: Path
    sha256: str
    task: str
    class_names: tuple[str, ...]
    format: str
    image_size: int


@dataclass(frozen=True)
class ModelRecord(NewModel):
    """A registered model."""

    id: UUID
    name: str
    created_at: datetime


_COLUMNS = "weights_path, sha256, task, class_names, format, image_size, id, name, created_at"
_MODEL = f"SELECT {_COLUMNS} FROM models "


def _record(row: tuple[object, ...]) -> ModelRecord:
    values = list(row)
    values[0], values[3] = place_of(str(values[0])), tuple(values[3])  # type: ignore[arg-type]
    return ModelRecord(*values)  # type: ignore[arg-type]


def list_models(database: Database) -> list[ModelRecord]:
    """All models by name."""
    return [_record(tuple(row)) for row in database.rows(_MODEL + "ORDER BY name")]


def find_model(database: Database, key: str) -> ModelRecord:
    """A model by its name, its id, or the path or sha256 of its weights.

    Of several that were registered from one path, it is the one that was so last.

    Raises:
        NotFoundError: there is none; the message says how weights are registered.
    """
    path = _resolved(key)
    with database.transaction() as connection:
        row = execute(
            connection,
            _MODEL + "WHERE name = :key OR id::text = :key OR sha256 = lower(:key) "
            "OR weights_path = :path ORDER BY name = :key DESC, updated_at DESC",
            key=key,
            path=path,
        ).first()
    if row is not None:
        return _record(tuple(row))
    if path is not None and place_of(path).exists():
        raise NotFoundError(
            f"The weights {key} are not registered: `visionflows models add {key}` does so, once "
            "somebody trusts them."
        )
    names = ", ".join(model.name for model in list_models(database)[:10])
    raise NotFoundError(
        f"There is no model {key!r}. "
        + (f"Registered models: {names}. " if names else "")
        + "`visionflows models add PATH` registers weights of this machine or a bucket; none are "
        "downloaded by name."
    )


def _resolved(key: str) -> str | None:
    """What a key is as a path, as registered paths are written; None where it is none."""
    try:
        return str(place_of(key).expanduser().resolve()) if key.strip() else None
    except (OSError, RuntimeError, ValueError, NotFoundError):
        return None


def add_model(database: Database, model: NewModel, *, name: str | None) -> ModelRecord:
    """Register weights; doing it again changes at most where they lie, and their name.

    Without a `name` it is that of the file, with the beginning of the digest behind it where other
    weights have that name.

    Raises:
        InvalidInputError: other weights have the name.
    """
    stem = model.weights_path.stem
    with database.transaction() as connection:
        # One registration at a time: two of the same weights must not choose two names.
        execute(connection, "LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE")
        names = dict(tuple(row) for row in execute(connection, "SELECT name, sha256 FROM models"))
        own = next((known for known, digest in names.items() if digest == model.sha256), None)
        chosen = name or own or stem
        if names.get(chosen, model.sha256) != model.sha256:
            if name is not None:
                raise InvalidInputError(
                    f"The name {name!r} belongs to other weights (sha256 {names[name][:12]}…): "
                    "choose another --name."
                )
            chosen = f"{stem}-{model.sha256[:8]}"
        values = vars(model) | {"path": str(model.weights_path), "names": list(model.class_names)}
        row = execute(
            connection,
            "INSERT INTO models (id, name, weights_path, sha256, task, class_names, format, "
            "image_size) VALUES (gen_random_uuid(), :name, :path, :sha256, :task, :names, :format, "
            ":image_size) ON CONFLICT (sha256) DO UPDATE SET "
            "name = excluded.name, weights_path = excluded.weights_path, updated_at = now() "
            f"RETURNING {_COLUMNS}",
            **values,
            name=chosen,
        ).one()
    return _record(tuple(row))
