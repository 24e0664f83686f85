"""`visionflows run`: run a flow in this process and show what it finds."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import typer
from pydantic import ValidationError

from deployments.cli.output.progress import live_job_bar
from deployments.cli.output.quality import print_quality, quality_as_json
from deployments.cli.output.terminal import print_json, print_plain
from deployments.cli.run.here import result_of, run_here, run_remotely
from deployments.server.environment import prepare_prefect_environment
from storage.database.connection import open_database
from storage.database.tables.jobs import JobKind
from storage.jobs.records import find_job, find_job_of_run
from storage.projects.projects import find_project
from storage.settings import get_settings


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
    remote: Annotated[
        bool,
        typer.Option("--remote", help="Run it on a worker of the stack (PREFECT_API_URL)."),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Prefect's log.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of tables.")
    ] = False,
) -> None:
    """Measure every image of a project: sharpness, brightness, contrast, uniqueness, issues.

    Images that are measured already are left out, so a second run takes seconds.

    For example:

      visionflows run quality-metrics --project mussels
    """
    settings = get_settings()
    prepare_prefect_environment(settings, log_level="INFO" if verbose else "ERROR")
    database = open_database(settings)
    found = find_project(database, project)

    from flows.quality_metrics import quality_metrics as flow
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
    if remote:
        parameters = {"project": str(found.id), "batch_size": batch_size, "force": force}
        parameters["thresholds"] = thresholds.model_dump(mode="json")
        run_id = run_remotely(
            database, "quality-metrics", parameters, f"Measuring {found.name}", show=not json_output
        )
        remote_job = find_job_of_run(database, run_id)
        if remote_job is None:
            print_plain(f"{found.name} is being measured already; `visionflows status` follows it.")
        elif json_output:
            print_json(quality_as_json(database, found, remote_job))
        else:
            print_quality(database, found, remote_job)
        return
    bar = live_job_bar(database, JobKind.QUALITY_METRICS, str(found.id), f"Measuring {found.name}")
    state = run_here(
        database,
        lambda: flow(
            project=str(found.id),
            batch_size=batch_size,
            force=force,
            thresholds=thresholds,
            return_state=True,
        ),
        None if json_output else bar,
    )
    result = result_of("quality-metrics", state)
    job = find_job(database, UUID(result["job_id"]))
    if json_output:
        print_json(quality_as_json(database, found, job))
    elif result["already_running"]:
        print_plain(
            f"{found.name} is being measured already (job {job.id}); "
            "`visionflows status --watch` follows it."
        )
    else:
        print_quality(database, found, job)
