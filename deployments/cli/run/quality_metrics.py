"""`visionflows run quality-metrics`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from pydantic import ValidationError

from deployments.cli.options import AllRowsOption, JsonOption, RemoteOption, VerboseOption
from deployments.cli.run.here import prepare, run_flow
from storage.projects.projects import find_project


def quality_metrics(
    project: Annotated[str, typer.Option(help="Name or id of the project.")],
    batch_size: Annotated[int, typer.Option(min=1, max=200, help="Images stored at a time.")] = 50,
    force: Annotated[bool, typer.Option("--force", help="Measure all images again.")] = False,
    blur_rule: Annotated[
        Literal["focus", "sharpness"],
        typer.Option(help="What decides blur: focus, or the plain Laplacian variance."),
    ] = "focus",
    focus: Annotated[
        float | None, typer.Option(min=0, help="Images with less focus are blurred.")
    ] = None,
    sharpness_reference: Annotated[
        float | None, typer.Option(min=1e-9, help="Laplacian variance that is sharpness 1 (500).")
    ] = None,
    _all_rows: AllRowsOption = False,
    remote: RemoteOption = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Measure every image of a project: sharpness, brightness, contrast, uniqueness, issues.

    Images that are measured already are left out, so a second run takes seconds.

    For example:

      visionflows run quality-metrics --project mussels
    """
    database = prepare(verbose=verbose)
    found = find_project(database, project)

    from tasks.quality.issues import BlurRule, QualityThresholds

    given = {"focus": focus, "sharpness_reference": sharpness_reference}
    try:
        thresholds = QualityThresholds(
            blur_rule=BlurRule(blur_rule),
            **{name: value for name, value in given.items() if value is not None},
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise typer.BadParameter(f"{option}: {first['msg']}.") from None

    run_flow(
        "quality-metrics",
        {
            "project": str(found.id),
            "batch_size": batch_size,
            "force": force,
            "thresholds": thresholds.model_dump(mode="json"),
        },
        database,
        doing=f"Measuring {found.name}",
        remote=remote,
        json_output=json_output,
    )
