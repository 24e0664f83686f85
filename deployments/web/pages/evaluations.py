"""Evaluations of runs: how far to trust the counts, and which labels to look at again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from deployments.web.api.evaluations import (
    EvaluationPath,
    Mistake,
    list_all_evaluations,
    list_images_of_evaluation,
    list_mistakes,
)
from deployments.web.api.runs import EvaluationOptions, evaluate_one_run
from deployments.web.dependencies import CursorQuery, DatabaseDependency, SettingsDependency
from deployments.web.pages.rendering.plots import Line, scatter, steps
from deployments.web.pages.rendering.routes import page_router
from deployments.web.pages.rendering.templates import page
from storage.database.connection import Database
from storage.errors import InvalidInputError
from storage.inference.evaluations import (
    find_evaluation,
    list_evaluated_images,
    load_curves,
    load_mistakes,
)
from storage.inference.results import RunResult
from storage.inference.run_images import find_run_image
from storage.inference.runs import find_run
from tasks.inference.evaluation.report import (
    ALL_CLASSES,
    comparison_report,
    evaluation_report,
)
from tasks.inference.evaluation.steps import compare_evaluations

router = page_router()

_LIMIT = 60
_MISTAKES = 24
_PAIR = 2
_MOST_POINTS = 20_000
_STEPS = 1000
_CURVES = (("precision", "#0072b2"), ("recall", "#d55e00"), ("f1", "#009e73"))
_ERROR_COLOUR = "#cc79a7"
EvaluationKey = Annotated[str | None, Query(max_length=100)]


@router.get("/evaluations")
def show_evaluations(
    request: Request,
    database: DatabaseDependency,
    run: Annotated[str | None, Query(max_length=100)] = None,
    cursor: CursorQuery = None,
) -> HTMLResponse:
    """All evaluations, the newest first."""
    found = list_all_evaluations(database, run, cursor, _LIMIT).data
    return page(
        request,
        "evaluations/list.html",
        evaluations=found.items,
        next=found.next,
        chosen={"run": run, "cursor": cursor},
    )


@router.get("/evaluations/compare")
def show_compared_evaluations(
    request: Request,
    database: DatabaseDependency,
    a: EvaluationKey = None,
    b: EvaluationKey = None,
    evaluation: Annotated[list[str] | None, Query()] = None,
) -> HTMLResponse:
    """Two evaluations on the images that both have, with intervals."""
    keys = [key for key in (a, b) if key is not None] or evaluation or []
    if len(keys) != _PAIR:
        raise InvalidInputError("Choose two evaluations to compare.")
    first, second = (find_evaluation(database, key) for key in keys)
    found = compare_evaluations(database, first, second)
    return page(
        request,
        "evaluations/compare.html",
        first=first,
        second=second,
        report=comparison_report(found),
        rows=found["rows"],
    )


@router.post("/runs/{run}/evaluate")
def start_evaluation(
    database: DatabaseDependency,
    settings: SettingsDependency,
    run: str,
    average_precision: Annotated[bool, Form()] = False,
) -> Response:
    """Have a run compared with the labels of its images."""
    body = EvaluationOptions(average_precision=average_precision)
    job = evaluate_one_run(database, settings, str(find_run(database, run).id), body).data.job
    return RedirectResponse(f"/jobs/{job.id}", 303)


@router.get("/evaluations/{evaluation}")
def show_evaluation(
    request: Request,
    database: DatabaseDependency,
    evaluation: EvaluationPath,
    of: Annotated[str, Query(max_length=4000)] = ALL_CLASSES,
    cursor: CursorQuery = None,
) -> HTMLResponse:
    """Figures, curves, the matrix, and the labels that are probably wrong."""
    found = find_evaluation(database, evaluation)
    key = str(found.id)
    curves = load_curves(database, found.id)
    chosen_class = of if of in curves else ALL_CLASSES
    mistakes = list_mistakes(database, key, cursor, _MISTAKES).data
    report = evaluation_report(
        {
            **vars(found),
            "mistakes": [],
            "mistake_count": len(load_mistakes(database, found.id)),
        }
    )
    return page(
        request,
        "evaluations/evaluation.html",
        evaluation=found,
        figures=found.figures,
        report=report,
        curve=_curve_plot(curves.get(chosen_class), found.threshold, found.figures["floor"]),
        errors=_error_plot(curves.get(chosen_class), found.threshold, found.figures["floor"]),
        counts=_count_plot(database, found.id),
        most_points=_MOST_POINTS,
        legend=[*_CURVES],
        error_colour=_ERROR_COLOUR,
        classes=list(curves),
        chosen_class=chosen_class,
        matrix_names=[*found.figures["class_names"], "background"],
        mistakes=_drawn(database, found.run_id, mistakes.items),
        next=mistakes.next,
        chosen={"of": None if chosen_class == ALL_CLASSES else chosen_class, "cursor": cursor},
    )


@router.get("/evaluations/{evaluation}/images")
def show_evaluated_images(
    request: Request,
    database: DatabaseDependency,
    evaluation: EvaluationPath,
    cell: Annotated[int | None, Query(ge=0, le=10**9)] = None,
    cursor: CursorQuery = None,
) -> HTMLResponse:
    """The images of an evaluation, or those behind one cell of its matrix."""
    found = find_evaluation(database, evaluation)
    images = list_images_of_evaluation(database, str(found.id), cell, cursor, _LIMIT).data
    run = find_run(database, str(found.run_id))
    names = [*found.figures["class_names"], "background"]
    pair = None
    if cell is not None and cell < len(names) ** 2:
        pair = (names[cell // len(names)], names[cell % len(names)])
    return page(
        request,
        "evaluations/images.html",
        evaluation=found,
        run=run,
        images=images.items,
        next=images.next,
        pair=pair,
        chosen={"cell": cell, "cursor": cursor},
    )


def _over_thresholds(curve: Mapping[str, Any], name: str) -> list[float]:
    """A curve at the thousandths from 0 to 1; what nobody knows is as the nearest that is known."""
    values = dict(
        zip((round(one * _STEPS) for one in curve["threshold"]), curve[name], strict=True)
    )
    known, last = [], next((one for one in curve[name] if one is not None), 0.0)
    for step in range(_STEPS + 1):
        value = values.get(step)
        last = last if value is None else value
        known.append(last)
    return known


def _curve_plot(curve: Mapping[str, Any] | None, threshold: float, floor: float) -> Markup | None:
    if curve is None or not curve["threshold"]:
        return None
    lines = [Line(name, colour, _over_thresholds(curve, name)) for name, colour in _CURVES]
    title = "Precision, recall and F1 over the threshold"
    return steps(title, lines, threshold, unknown_to=floor, digits=2)


def _error_plot(curve: Mapping[str, Any] | None, threshold: float, floor: float) -> Markup | None:
    if curve is None or not curve["counts"]["threshold"]:
        return None
    line = Line(
        "mean absolute error", _ERROR_COLOUR, _over_thresholds(curve["counts"], "mean_absolute")
    )
    title = "Mean absolute count error of an image over the threshold"
    return steps(title, [line], threshold, unknown_to=floor, digits=2)


def _count_plot(database: Database, evaluation_id: UUID) -> Markup:
    images = list_evaluated_images(database, evaluation_id, cell=None, after=-1, limit=_MOST_POINTS)
    points = Counter((image.labelled, image.counted) for image in images)
    return scatter("Objects counted (upwards) over labelled (to the right), an image each", points)


def _drawn(
    database: Database, run_id: UUID, mistakes: list[Mistake]
) -> list[tuple[Mistake, RunResult]]:
    """Mistakes with the size of their pictures."""
    known = {one.image_id for one in mistakes}
    results = {image_id: find_run_image(database, run_id, image_id)[0] for image_id in known}
    return [(one, results[one.image_id]) for one in mistakes]
