"""One of everything that can be removed, with rows and files that are counted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from storage.database.connection import Database
from storage.inference.run_pairs import comparison_id


class Things:
    """Makes rows and files as the flows do."""

    def __init__(self, database: Database, home: Path) -> None:
        self.database = database
        self.home = home

    def sql(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        with self.database.transaction() as connection:
            found = connection.execute(text(statement), values)
            return [tuple(row) for row in found] if found.returns_rows else []

    def count(self, table: str) -> int:
        return int(str(self.sql(f"SELECT count(*) FROM {table}")[0][0]))

    def file(self, place: str, size: int = 10) -> Path:
        path = self.home / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        return path

    def image(self, name: str) -> UUID:
        image_id = uuid4()
        self.sql(
            "INSERT INTO shared_images (id, sha256, file_path, file_size) "
            "VALUES (:id, :sha, :p, 1)",
            id=image_id,
            sha=uuid4().hex,
            p=f"/pictures/{name}",
        )
        return image_id

    def job(
        self, kind: str, subject: str, result: object = None, parameters: object = None
    ) -> UUID:
        job_id = uuid4()
        self.sql(
            "INSERT INTO jobs (id, kind, subject, status, total, processed, failed, fencing_token, "
            "parameters, result, completed_at) VALUES (:id, CAST(:kind AS job_kind), :subject, "
            "'completed', 0, 0, 0, 1, CAST(:parameters AS jsonb), CAST(:result AS jsonb), now())",
            id=job_id,
            kind=kind,
            subject=subject,
            parameters=json.dumps(parameters or {}),
            result=json.dumps(result),
        )
        self.sql(
            "INSERT INTO job_chunks (job_id, number, items, state, attempt, position, processed, "
            "failed) VALUES (:id, 0, '{}', 'completed', 1, 0, 0, 0)",
            id=job_id,
        )
        return job_id

    def model(self, name: str) -> UUID:
        model_id = uuid4()
        self.sql(
            "INSERT INTO models (id, name, weights_path, sha256, task, class_names, format, "
            "image_size) VALUES (:id, :name, '/weights.onnx', :name, 'segment', '{live}', 'onnx', "
            "320)",
            id=model_id,
            name=name,
        )
        self.file(f"exports/exports/{name}/1.onnx")
        return model_id

    def collection(self, name: str, images: list[UUID], folder: str = "/pictures") -> UUID:
        collection_id = uuid4()
        self.sql(
            "INSERT INTO collections (id, name, source) VALUES (:id, :name, '{}')",
            id=collection_id,
            name=name,
        )
        for position, image in enumerate(images):
            self.sql(
                "INSERT INTO collection_images "
                "VALUES (:id, :image, :position, 'x', :path, 1, 1, 0)",
                id=collection_id,
                image=image,
                position=position,
                path=f"{folder}/{position}.jpg",
            )
        return collection_id

    def run(self, collection: UUID, model: UUID, images: list[UUID], threshold: float) -> UUID:
        """Two rows for each image, a job with a chunk, polygons of 10 bytes, snapshot, page."""
        run_id = uuid4()
        self.sql(
            "INSERT INTO runs (id, collection_id, model_id, threshold, image_size, max_detections, "
            "status, total, "
            "processed_count, failed_count, live_mussel_count, dead_mussel_count, class_counts) "
            "VALUES (:id, :collection, :model, :threshold, 320, 300, 'completed', 0, 0, 0, 0, 0, "
            "'{}')",
            id=run_id,
            collection=collection,
            model=model,
            threshold=threshold,
        )
        for image in images:
            place = f"runs/{run_id}/polygons/{image}.json"
            self.sql(
                "INSERT INTO image_detections VALUES (:model, :image, 's', 0, 1, 1, false, '[]', 1)"
                " ON CONFLICT DO NOTHING",
                model=model,
                image=image,
            )
            self.sql(
                "INSERT INTO image_results (run_id, image_id, live_count, dead_count, "
                "class_counts, polygon_path, counted_classes, settings) "
                "VALUES (:run, :image, 0, 0, '{}', :place, 'c', 's')",
                run=run_id,
                image=image,
                place=place,
            )
            self.file(place)
        self.job("collection-inference", str(run_id))
        self.file(f"snapshots/inference_results/run={run_id}/1.parquet", 100)
        self.file(f"reports/collection-inference/{run_id}.html", 1000)
        return run_id

    def comparison(self, first: UUID, second: UUID) -> UUID:
        found = comparison_id(first, second)
        self.job(
            "compare-runs", str(found), parameters={"first": str(first), "second": str(second)}
        )
        self.file(f"snapshots/run_comparisons/comparison={found}/1.parquet", 100)
        self.file(f"reports/compare-runs/{found}.html", 1000)
        return found

    def files(self) -> set[str]:
        return {
            path.relative_to(self.home).as_posix()
            for path in self.home.rglob("*")
            if path.is_file() and "postgresql" not in path.parts
        }


@pytest.fixture
def things(database: Database, home: Path) -> Things:
    home.mkdir(exist_ok=True)
    return Things(database, home)


@pytest.fixture
def two_runs(things: Things) -> Callable[[], tuple[UUID, UUID]]:
    """Two runs of one model over three images, and their comparison in both orders."""

    def make() -> tuple[UUID, UUID]:
        images = [things.image(str(number)) for number in range(3)]
        bay, mussels = things.collection("bay", images), things.model("mussels")
        first = things.run(bay, mussels, images, 0.5)
        second = things.run(bay, mussels, images, 0.8)
        things.comparison(first, second)
        things.comparison(second, first)
        return first, second

    return make
