"""Reading sessions: listing and filtering, one session, models, overviews, the snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from storage.database.connection import Database, execute
from storage.database.stored_values import storable_text
from storage.errors import NotFoundError

SessionPlace = tuple[datetime | None, str]
"""Where a session stands in the listing: when it began, if that is known, and its id."""

_SEEDS = ("seed_base", "seed_min", "seed_max")


@dataclass(frozen=True)
class SessionFilter:
    """Which sessions to list; what is left out does not filter.

    `model` is a name with or without the suffix of its file. Sessions began at the time in the
    folder's name, or else that of the first image. `include_missing` adds those whose folders are
    gone.
    """

    model: str | None = None
    incomplete: bool = False
    sweeps: bool = False
    ongoing: bool = False
    since: datetime | None = None
    tag: str | None = None
    root: str | None = None
    include_missing: bool = False


@dataclass(frozen=True)
class ModelSessions:
    """The sessions of one model, by its name without the suffix of a file.

    `sd_model` is None for those that tell none.
    `mean_completion` is over the sessions that expect images, in percent; None without any.
    """

    sd_model: str | None
    sessions: int
    incomplete: int
    images: int
    images_expected: int
    mean_completion: float | None


@dataclass(frozen=True)
class SessionOverview:
    """The sessions of a root at a glance; missing ones are only counted.

    Incomplete ones are listed with the fewest of their images first. `sources` counts sessions told
    by manifest, image metadata, or the folder alone, `problems` those with each kind; `failures`
    has id and reason.
    """

    sessions: int
    missing: int
    images: int
    expected: int
    incomplete: int
    ongoing: int
    sweeps: int
    mean_completion: float | None
    incomplete_sessions: list[dict[str, Any]]
    models: list[ModelSessions]
    sources: dict[str, int]
    problems: dict[str, int]
    failures: list[tuple[str, str]]


# The same model is told as a file by manifests, and without its suffix by images.
_MODEL_SUFFIXES = (".safetensors", ".ckpt")
_WITHOUT_SUFFIX = r"regexp_replace(s.sd_model, '\.(safetensors|ckpt)$', '')"


def model_files(model: str) -> list[str]:
    """The names under which a model may be stored, given any of them."""
    name = model
    for suffix in _MODEL_SUFFIXES:
        name = name.removesuffix(suffix)
    return [name, *(name + suffix for suffix in _MODEL_SUFFIXES)]


def incomplete_condition(alias: str) -> str:
    """SQL that is true for a session with fewer images than expected.

    The numbers decide: two decimals of a percentage call 99,999 of 100,000 images all of them.
    """
    return (
        f"{alias}.completion_percentage <= 100 AND {alias}.images_actual < {alias}.images_expected"
    )


def _sum(column: str) -> str:
    """SQL of a sum that no manifest, whatever it promises, can make too large for an integer."""
    return f"least(coalesce(sum({column}), 0), 9223372036854775807)::bigint"


_LISTED = (
    "session_id, sd_model, images_actual, images_expected, completion_percentage, is_seed_sweep, "
    "is_ongoing, manifest_status, stats_source, session_created_at, first_image_created_at, "
    "folder_state, tags, flags, rating, session_path, jsonb_array_length(problems) AS problem_count"
)


def listing_query(
    chosen: SessionFilter, *, limit: int | None, after: SessionPlace | None = None
) -> tuple[str, dict[str, Any]]:
    """The query of `list_sessions` and its values.

    Conditions stand in it only where they filter, so that the planner sees which index serves. The
    sessions behind a place end with those of a known time, if it has one.
    """
    began, last_id = after or (None, "")
    conditions = {
        "sd_model = ANY(CAST(:models AS text[]))": chosen.model is not None,
        incomplete_condition("s"): chosen.incomplete,
        "is_seed_sweep": chosen.sweeps,
        "is_ongoing": chosen.ongoing,
        "(session_created_at >= :since OR "
        "(session_created_at IS NULL AND first_image_created_at >= :since))": chosen.since
        is not None,
        "tags @> ARRAY[CAST(:tag AS text)]": chosen.tag is not None,
        "sessions_root = :root": chosen.root is not None,
        "folder_state = 'present'": not chosen.include_missing,
        "session_created_at <= :began AND (session_created_at < :began OR session_id > :last_id)": (
            began is not None
        ),
        "session_created_at IS NULL AND session_id > :last_id": after is not None and began is None,
    }
    wanted = [condition for condition, is_wanted in conditions.items() if is_wanted]
    query = f"SELECT {_LISTED} FROM sessions s"
    if wanted:
        query += " WHERE " + " AND ".join(wanted)
    query += " ORDER BY session_created_at DESC NULLS LAST, session_id"
    if limit is not None:
        query += " LIMIT :limit"
    values = {
        "models": None if chosen.model is None else model_files(storable_text(chosen.model)),
        "since": chosen.since,
        "tag": None if chosen.tag is None else storable_text(chosen.tag),
        "root": None if chosen.root is None else storable_text(chosen.root),
        "limit": limit,
        "began": began,
        "last_id": storable_text(last_id),
    }
    return query, {name: value for name, value in values.items() if f":{name}" in query}


def list_sessions(
    database: Database,
    chosen: SessionFilter,
    *,
    limit: int | None = 50,
    after: SessionPlace | None = None,
) -> list[dict[str, Any]]:
    """Sessions with the figures that people look at first, the newest first; or those behind."""
    found: list[dict[str, Any]] = []
    with database.reading() as connection:

        def read(place: SessionPlace | None) -> None:
            left = None if limit is None else limit - len(found)
            query, values = listing_query(chosen, limit=left, after=place)
            found.extend(dict(row) for row in execute(connection, query, **values).mappings())

        read(after)
        if after is not None and after[0] is not None and (limit is None or len(found) < limit):
            # Those whose time nobody knows come last.
            read((None, ""))
    return found


def find_session(database: Database, session_id: str) -> dict[str, Any]:
    """All columns of the view `sessions` for one session, seeds as integers.

    Raises:
        NotFoundError: there is no such session, or nothing has been computed for it yet.
    """
    with database.reading() as connection:
        row = (
            execute(
                connection,
                "SELECT * FROM sessions WHERE session_id = :id",
                id=storable_text(session_id),
            )
            .mappings()
            .one_or_none()
        )
        if row is None:
            alike = (
                execute(
                    connection,
                    "SELECT session_id FROM session_metadata "
                    "WHERE position(lower(:id) IN lower(session_id)) > 0 "
                    "ORDER BY session_id LIMIT 5",
                    id=storable_text(session_id),
                )
                .scalars()
                .all()
            )
            raise NotFoundError(
                f"There are no statistics of a session {session_id!r}. "
                + (f"Similar ids: {', '.join(alike)}." if alike else "")
                + ("" if alike else "`visionflows sessions list` shows the sessions.")
            )
    return {name: _plain(name, value) for name, value in row.items()}


def _plain(name: str, value: Any) -> Any:  # noqa: ANN401 - any column
    return int(value) if name in _SEEDS and isinstance(value, Decimal) else value


# The inner groups are few: only they go through the expression that cuts the suffix off.
_MODELS = f"""
SELECT {_WITHOUT_SUFFIX}, sum(sessions)::bigint, sum(incomplete)::bigint,
       {_sum("images")}, {_sum("expected")}, sum(completion) / nullif(sum(expecting), 0)::float
FROM (
    SELECT s.sd_model, count(*) AS sessions,
           count(*) FILTER (WHERE {incomplete_condition("s")}) AS incomplete,
           sum(s.images_actual) AS images, sum(s.images_expected) AS expected,
           coalesce(sum(s.completion_percentage) FILTER (WHERE s.images_expected > 0), 0)
               AS completion,
           count(*) FILTER (WHERE s.images_expected > 0) AS expecting
    FROM session_stats s JOIN session_folders f USING (session_id)
    WHERE f.state = 'present' AND (CAST(:root AS text) IS NULL OR f.sessions_root = :root)
    GROUP BY s.sd_model
) s GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT :limit
"""


def list_models(
    database: Database, *, root: str | None = None, limit: int | None = None
) -> list[ModelSessions]:
    """Sessions, images and mean completion of every model, those with the most sessions first."""
    with database.reading() as connection:
        return _models(connection, root, limit)


def _models(connection: Connection, root: str | None, limit: int | None) -> list[ModelSessions]:
    rows = execute(connection, _MODELS, root=root, limit=limit)
    return [ModelSessions(*row) for row in rows]


def load_session_overview(database: Database, root: str, *, most_rows: int = 50) -> SessionOverview:
    """The sessions of a root at a glance; at most `most_rows` in each list."""
    values: dict[str, Any] = {"root": root, "most_rows": most_rows}
    present = "FROM sessions s WHERE s.sessions_root = :root AND s.folder_state = 'present'"
    incomplete = incomplete_condition("s")
    with database.reading() as connection:

        def rows(query: str) -> Sequence[Any]:
            return execute(connection, query, **values).all()

        counts = rows(
            f"SELECT count(*) AS sessions, {_sum('images_actual')} AS images, "
            f"{_sum('images_expected')} AS expected, "
            f"count(*) FILTER (WHERE {incomplete}) AS incomplete, "
            "count(*) FILTER (WHERE is_ongoing) AS ongoing, "
            "count(*) FILTER (WHERE is_seed_sweep) AS sweeps, "
            "avg(completion_percentage) FILTER (WHERE images_expected > 0) AS mean_completion "
            f"{present}"
        )[0]
        missing = rows(
            "SELECT count(*) FROM session_folders WHERE sessions_root = :root AND state = 'missing'"
        )[0][0]
        listed = execute(
            connection,
            f"SELECT {_LISTED} {present} AND {incomplete} "
            "ORDER BY completion_percentage, session_id LIMIT :most_rows",
            **values,
        ).mappings()
        incomplete_sessions = [dict(row) for row in listed]
        sources = rows(f"SELECT stats_source::text, count(*) {present} GROUP BY 1 ORDER BY 2 DESC")
        problems = rows(
            "SELECT code, count(*) FROM (SELECT DISTINCT s.session_id, p ->> 'code' AS code "
            "FROM sessions s CROSS JOIN jsonb_array_elements(s.problems) p "
            "WHERE s.sessions_root = :root AND s.folder_state = 'present') found "
            "GROUP BY code ORDER BY 2 DESC, 1"
        )
        failures = rows(
            "SELECT session_id, error_message FROM session_folders WHERE sessions_root = :root "
            "AND state = 'present' AND error_message IS NOT NULL ORDER BY session_id "
            "LIMIT :most_rows"
        )
        models = _models(connection, root, most_rows)
    return SessionOverview(
        **counts._mapping,
        missing=missing,
        incomplete_sessions=incomplete_sessions,
        models=models,
        sources={row[0]: row[1] for row in sources},
        problems={row[0]: row[1] for row in problems},
        failures=[(row[0], row[1]) for row in failures],
    )
