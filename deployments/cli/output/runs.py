"""Runs of inference, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from deployments.cli.output.tables import print_list, print_report
from deployments.cli.output.terminal import print_plain, rows_to_load
from storage.database.connection import Database
from storage.inference.results import describe_run
from storage.inference.runs import RunRecord
from storage.settings import get_settings
from tasks.inference.runs.report import found_in_words, run_report
from tasks.reports.report import counted


def print_run(database: Database, run: RunRecord, result: dict[str, Any] | None = None) -> None:
    """A run: what was counted, what failed, and where it lies; `result` is its flow's, if any."""
    page = get_settings().report_page("collection-inference", run.id)
    places = [("page", str(page))] if page.exists() else []
    counts = None
    if result is not None:
        counts = result["detected"], result["answered"]
        places = [("snapshot", result["snapshot"]), ("page", result["page"])]
    print_report(
        run_report(describe_run(database, run, most_failures=rows_to_load()), counts), *places
    )


def print_runs(runs: list[RunRecord]) -> None:
    """Runs, one a line."""
    print_list(
        (
            *("run", "collection", "model", "threshold", "pixels", "status"),
            *("done", "failed", "total", "found"),
        ),
        [
            (
                str(run.id)[:8],
                run.collection,
                run.model,
                f"{run.threshold:g}",
                str(run.image_size),
                "interrupted" if run.is_interrupted else run.status.value,
                str(run.processed_count),
                str(run.failed_count),
                str(run.total),
                found_in_words(asdict(run), asdict(run), most=3),
            )
            for run in runs
        ],
    )


def print_counts(
    records: Sequence[Mapping[str, Any]], class_names: Sequence[str], *, images: int
) -> None:
    """What a run counts at some thresholds, one a line."""
    # The sums say something that the classes do not where other names stand for live and dead.
    sums = [
        name
        for name in ("live", "dead")
        if any(one[name] != one["classes"].get(name, 0) for one in records)
    ]
    print_list(
        ("threshold", *class_names, *(f"counts as {name}" for name in sums)),
        [
            (
                f"{one['threshold']:g}",
                *(str(one["classes"][name]) for name in class_names),
                *(str(one[name]) for name in sums),
            )
            for one in records
        ],
    )
    print_plain(f"On {counted(images, 'image')}.")
