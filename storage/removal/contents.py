"""What belongs to each thing that can be removed: rows, files, jobs; and what stays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from storage.database.connection import execute
from storage.database.tables.jobs import JobKind
from storage.database.tables.removals import RemovalNoun
from storage.files.places import place_of
from storage.inference.run_pairs import comparison_id
from storage.projects.generated_files import is_untouched
from storage.projects.ingests import read_generated_images, read_own_images
from storage.removal.parts import Contents, JobSubject, Rows, job_rows, kept_about
from storage.sessions.root import sessions_root_id
from storage.settings import get_settings

# What prepare-training-set puts into the folder of a set.
_OF_A_SET = {"images", "labels", "data.yaml", "classes.txt", "manifest.parquet"}


def contents_of(connection: Connection, noun: RemovalNoun, subject: str) -> Contents | None:
    """All that goes with a thing; None where it is not there any more."""
    return _CONTENTS[noun](connection, subject)


def _run(connection: Connection, subject: str) -> Contents | None:
    runs = _find_runs(connection, "k.id = :id", id=UUID(subject))
    if not runs:
        return None
    rows, places, jobs = _parts_of_runs(connection, [row.id for row in runs])
    return Contents(
        RemovalNoun.RUN,
        subject,
        _run_name(runs[0]),
        rows,
        places,
        jobs,
        _comparing_jobs([row.id for row in runs]),
        stays=[
            "the images",
            f"what {runs[0].model} has found: another run with it needs no inference",
        ],
    )


def _collection(connection: Connection, subject: str) -> Contents | None:
    own = {"id": UUID(subject)}
    found = execute(connection, "SELECT name FROM collections WHERE id = :id", **own).first()
    if found is None:
        return None
    runs = _find_runs(connection, "k.collection_id = :id", **own)
    rows, places, jobs = _parts_of_runs(connection, [row.id for row in runs])
    return Contents(
        RemovalNoun.COLLECTION,
        subject,
        found.name,
        [
            *rows,
            Rows("collection_images", "collection_id = :id", own),
            Rows("collections", "id = :id", own),
        ],
        places,
        jobs,
        _comparing_jobs([row.id for row in runs]),
        runs=[_run_name(row) for row in runs],
        stays=["the images, where they are", "what models have found on them, until it is pruned"],
    )


def _model(connection: Connection, subject: str) -> Contents | None:
    own = {"id": UUID(subject)}
    found = execute(
        connection, "SELECT name, weights_path, sha256 FROM models WHERE id = :id", **own
    ).first()
    if found is None:
        return None
    runs = _find_runs(connection, "k.model_id = :id", **own)
    rows, places, jobs = _parts_of_runs(connection, [row.id for row in runs])
    return Contents(
        RemovalNoun.MODEL,
        subject,
        found.name,
        [
            *rows,
            Rows("image_detections", "model_id = :id", own),
            Rows("models", "id = :id", own),
        ],
        [*places, get_settings().exports_folder / "exports" / found.sha256],
        jobs,
        _comparing_jobs([row.id for row in runs]),
        runs=[_run_name(row) for row in runs],
        stays=[f"the weights {found.weights_path}", "the collections"],
    )


def _find_runs(
    connection: Connection,
    where: str,
    **values: Any,  # noqa: ANN401
) -> Sequence[Any]:
    return execute(
        connection,
        "SELECT k.id, k.threshold, m.name AS model, c.name AS collection FROM runs k "
        "JOIN models m ON m.id = k.model_id JOIN collections c ON c.id = k.collection_id "
        f"WHERE {where} ORDER BY k.created_at, k.id",
        **values,
    ).all()


def _run_name(run: Any) -> str:  # noqa: ANN401 - a row of the query above
    return f"{run.collection}: {run.model} at {run.threshold:g} ({str(run.id)[:8]})"


def _parts_of_runs(
    connection: Connection, run_ids: list[UUID]
) -> tuple[list[Rows], list[Path], list[JobSubject]]:
    """Rows, places and jobs of runs, and of the comparisons with other runs."""
    settings = get_settings()
    comparisons = _comparisons(connection, run_ids)
    places = [
        *(settings.runs_folder / str(run_id) for run_id in run_ids),
        *kept_about("run", run_ids, "collection-inference"),
        *kept_about("comparison", comparisons, "compare-runs"),
    ]
    jobs = [
        *((JobKind.COLLECTION_INFERENCE, str(run_id)) for run_id in run_ids),
        *((JobKind.COMPARE_RUNS, str(one)) for one in comparisons),
    ]
    own = {"ids": run_ids}
    told = execute(
        connection,
        "SELECT id::text FROM evaluations WHERE run_id = ANY(CAST(:ids AS uuid[])) UNION "
        "SELECT subject FROM jobs WHERE kind = 'evaluate-run' "
        "AND parameters->>'run' = ANY(CAST(:names AS text[]))",
        **own,
        names=[str(run_id) for run_id in run_ids],
    ).scalars()
    evaluated, pages, evaluating = _parts_of_evaluations([UUID(one) for one in told])
    places += pages
    jobs += evaluating
    rows = [
        *job_rows(jobs),
        *evaluated,
        Rows("image_results", "run_id = ANY(CAST(:ids AS uuid[]))", own),
        Rows("runs", "id = ANY(CAST(:ids AS uuid[]))", own),
    ]
    return rows, places, jobs


def _parts_of_evaluations(
    ids: list[UUID],
) -> tuple[list[Rows], list[Path], list[JobSubject]]:
    """Rows without those of jobs, places and jobs of evaluations."""
    own = {"ids": sorted(ids, key=str)}
    rows = [
        Rows("evaluated_images", "evaluation_id = ANY(CAST(:ids AS uuid[]))", own),
        Rows("evaluations", "id = ANY(CAST(:ids AS uuid[]))", own),
    ]
    jobs = [(JobKind.EVALUATE_RUN, str(one)) for one in own["ids"]]
    return rows, kept_about("evaluation", own["ids"], "evaluate-run"), jobs


def _evaluation(connection: Connection, subject: str) -> Contents | None:
    found = execute(
        connection,
        "SELECT r.id, r.threshold, m.name AS model, c.name AS collection FROM evaluations e "
        "JOIN runs r ON r.id = e.run_id JOIN models m ON m.id = r.model_id "
        "JOIN collections c ON c.id = r.collection_id WHERE e.id = :id",
        id=UUID(subject),
    ).first()
    if found is None:
        return None
    rows, places, jobs = _parts_of_evaluations([UUID(subject)])
    return Contents(
        RemovalNoun.EVALUATION,
        subject,
        f"of {_run_name(found)}",
        [*job_rows(jobs), *rows],
        places,
        jobs,
        stays=["the run", "the labels"],
    )


def _comparisons(connection: Connection, run_ids: list[UUID]) -> list[UUID]:
    """The comparisons of some runs with any others that are kept."""
    settings = get_settings()
    kept = {
        path.name.partition("=")[2]
        for path in settings.snapshots_folder.glob("run_comparisons/comparison=*")
    } | {path.stem for path in (settings.reports_folder / "compare-runs").glob("*.html")}
    # Where files are hidden already the jobs still tell.
    jobs = _comparing_jobs(run_ids)
    told = execute(connection, f"SELECT subject FROM jobs WHERE {jobs.where}", **jobs.values)
    found = {UUID(subject) for subject in told.scalars()}
    if kept:
        everyone = list(execute(connection, "SELECT id FROM runs").scalars())
        for one, other in itertools.product(run_ids, everyone):
            both = (comparison_id(one, other), comparison_id(other, one))
            found.update(id_ for id_ in both if str(id_) in kept)
    return sorted(found, key=str)


def _comparing_jobs(run_ids: list[UUID]) -> Rows:
    return Rows(
        "jobs",
        "kind = 'compare-runs' AND (parameters->>'first' = ANY(CAST(:runs AS text[])) "
        "OR parameters->>'second' = ANY(CAST(:runs AS text[])))",
        {"runs": [str(run_id) for run_id in run_ids]},
    )


def _release(connection: Connection, subject: str) -> Contents | None:
    own = {"id": UUID(subject)}
    found = execute(
        connection,
        "SELECT name, model_path, project_id IS NOT NULL OR EXISTS (SELECT 1 FROM jobs j "
        "WHERE j.kind = 'create-release' AND j.subject = r.name "
        "AND j.result->>'release_id' = r.id::text AND j.result->>'archive' = r.model_path) "
        "AS is_made_here FROM releases r WHERE id = :id",
        **own,
    ).first()
    if found is None:
        return None
    jobs = [(JobKind.RELEASE_STATS, subject), (JobKind.CREATE_RELEASE, found.name)]
    places = kept_about("release", [subject], "build-release-stats", "create-release")
    if found.is_made_here:
        places.append(place_of(found.model_path))
    return Contents(
        RemovalNoun.RELEASE,
        subject,
        found.name,
        [*job_rows(jobs), Rows("releases", "id = :id", own)],
        places,
        jobs,
        stays=["the project"]
        if found.is_made_here
        else [f"the archive {found.model_path}, which was not made here"],
    )


def _project(connection: Connection, subject: str) -> Contents | None:
    own = {"id": UUID(subject)}
    found = execute(connection, "SELECT name, path FROM projects WHERE id = :id", **own).first()
    if found is None:
        return None
    root, folder = get_settings().projects_folder, place_of(found.path)
    own_folder = root / subject
    jobs = [(JobKind.INGEST_PROJECT, subject), (JobKind.QUALITY_METRICS, subject)]
    places = [
        root / ".staging" / subject,
        *kept_about("project", [subject], "ingest-project", "quality-metrics"),
    ]
    stays, warnings = [], []
    is_ours = folder.is_relative_to(own_folder)
    if is_ours:
        places.append(own_folder)
        for name, count in _collections_in(connection, folder):
            warnings.append(f"{count} images of the collection {name} lie in its folder and go")
        own_images = len(read_own_images(connection, UUID(subject)))
        if own_images:
            warnings.append(f"{own_images} images that somebody has put or edited there go, too")
    elif folder.is_relative_to(root):
        for one in read_generated_images(connection, UUID(subject)):
            if is_untouched(folder, one):
                label = one.generation.get("label_path")
                places += [folder / name for name in (label, one.relative_path) if name]
        stays.append(f"the folder {folder}, which was put among the projects")
        warnings.append("the next look at all projects makes one of that folder: move it away")
    else:
        stays.append(f"the linked folder {folder}: nothing in it is touched")
    releases = execute(
        connection, "SELECT name FROM releases WHERE project_id = :id ORDER BY name", **own
    ).scalars()
    stays += [f"the release {name}" for name in releases]
    stays.append("training sets that were made of it")
    images = "SELECT id FROM project_images WHERE project_id = :id"
    evaluations = execute(
        connection,
        f"SELECT DISTINCT evaluation_id FROM evaluated_images WHERE project_image_id IN ({images})",
        **own,
    ).scalars()
    evaluated, pages, evaluating = _parts_of_evaluations(list(evaluations))
    places += pages
    jobs += evaluating
    return Contents(
        RemovalNoun.PROJECT,
        subject,
        found.name,
        [
            *job_rows(jobs),
            *evaluated,
            Rows("uploads", "project_id = :id", own),
            Rows("staged_files", "project_id = :id", own),
            Rows("project_ingests", "project_id = :id", own),
            Rows("project_image_failures", f"project_image_id IN ({images})", own),
            Rows("project_image_quality", f"project_image_id IN ({images})", own),
            Rows("project_images", "project_id = :id", own),
            Rows("projects", "id = :id", own),
        ],
        places,
        jobs,
        Rows(
            "jobs",
            "(kind = 'create-release' AND parameters->>'project' = :id) "
            "OR (kind = 'prepare-training-set' AND parameters->'projects' ? :name) "
            "OR (:is_ours AND kind = 'collection-inference' AND subject IN (SELECT k.id::text "
            "FROM runs k JOIN collection_images i ON i.collection_id = k.collection_id "
            "WHERE starts_with(i.file_path, :folder)))",
            {
                "id": subject,
                "name": found.name,
                "is_ours": is_ours,
                "folder": f"{folder}/",
            },
        ),
        stays=stays,
        warnings=warnings,
    )


def _collections_in(connection: Connection, folder: Path) -> Sequence[Any]:
    return execute(
        connection,
        "SELECT c.name, count(*) FROM collections c JOIN collection_images i "
        "ON i.collection_id = c.id WHERE starts_with(i.file_path, :folder) "
        "GROUP BY c.name ORDER BY c.name",
        folder=f"{folder}/",
    ).all()


def _session(connection: Connection, subject: str) -> Contents | None:
    own = {"id": subject}
    found = execute(
        connection,
        "SELECT f.sessions_root, f.relative_path, f.sessions_root IS NOT NULL AND NOT EXISTS "
        "(SELECT 1 FROM session_folders o WHERE o.sessions_root = f.sessions_root "
        "AND o.session_id <> m.session_id) AS is_last FROM session_metadata m "
        "LEFT JOIN session_folders f USING (session_id) WHERE m.session_id = :id",
        **own,
    ).first()
    if found is None:
        return None
    root = found.sessions_root
    jobs = [] if root is None else [(JobKind.SESSION_STATS, root)]
    places: list[Path] = []
    if found.is_last:
        places = kept_about("root", [sessions_root_id(root)], "compute-session-stats")
    stays = []
    if root is not None:
        folder = place_of(root) / found.relative_path
        stays.append(f"the folder {folder}: while it is there, compute-session-stats adds it again")
    return Contents(
        RemovalNoun.SESSION,
        subject,
        subject,
        [
            *(job_rows(jobs) if found.is_last else []),
            Rows("session_stats", "session_id = :id", own),
            Rows("session_folders", "session_id = :id", own),
            Rows("session_metadata", "session_id = :id", own),
        ],
        places,
        jobs,
        stays=stays,
        warnings=["what people have said of it goes: tags, rating and note"],
    )


def _training_set(connection: Connection, subject: str) -> Contents | None:
    """A set is its folder and the records of its jobs: one of them is enough."""
    jobs = [(JobKind.TRAINING_SET, subject)]
    keys = execute(
        connection,
        "SELECT DISTINCT left(result->>'key', 32) FROM jobs "
        "WHERE kind = 'prepare-training-set' AND subject = :subject AND result ? 'key' "
        "AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.kind = jobs.kind "
        "AND o.subject <> jobs.subject AND o.result->>'key' = jobs.result->>'key')",
        subject=subject,
    ).scalars()
    folder = Path(subject)
    others = [
        path.name
        for path in (sorted(folder.iterdir()) if folder.is_dir() else [])
        if path.name not in _OF_A_SET
    ]
    rows = job_rows(jobs)
    return Contents(
        RemovalNoun.TRAINING_SET,
        subject,
        folder.name,
        rows,
        [
            *kept_about("training_set", [UUID(key) for key in keys], "prepare-training-set"),
            folder,
        ],
        jobs,
        stays=["the images of the projects, which it shares or has copied"],
        warnings=[f"somebody has put into its folder, and goes too: {', '.join(others)}"]
        if others
        else [],
    )


_CONTENTS: dict[RemovalNoun, Callable[[Connection, str], Contents | None]] = {
    RemovalNoun.PROJECT: _project,
    RemovalNoun.RELEASE: _release,
    RemovalNoun.SESSION: _session,
    RemovalNoun.COLLECTION: _collection,
    RemovalNoun.MODEL: _model,
    RemovalNoun.RUN: _run,
    RemovalNoun.TRAINING_SET: _training_set,
    RemovalNoun.EVALUATION: _evaluation,
}
