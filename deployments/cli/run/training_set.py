"""`visionflows run prepare-training-set`: several projects become one YOLO dataset."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from deployments.cli.output.jobs import job_as_json
from deployments.cli.output.terminal import console, print_json, print_plain
from deployments.cli.output.training_sets import print_training_set
from deployments.cli.run.here import result_of, run_here
from deployments.server.environment import prepare_prefect_environment
from storage.database.connection import open_database
from storage.jobs.records import find_job
from storage.settings import get_settings


class Task(StrEnum):
    """What can be trained, and `auto` to decide by the labels."""

    AUTO = "auto"
    DETECT = "detect"
    SEGMENT = "segment"
    OBB = "obb"
    POSE = "pose"


def prepare_training_set(
    project: Annotated[
        list[str],
        typer.Option(
            help="Name or id of a project; once for each. Their order numbers the classes."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the set; by default one under VISIONFLOWS_HOME."),
    ] = None,
    task: Annotated[
        Task, typer.Option(help="What is trained; auto takes the finest that all labels can serve.")
    ] = Task.AUTO,
    val: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the images for validation.")
    ] = 0.2,
    test: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the images for testing.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Another seed gives another division.")] = 0,
    keep_splits: Annotated[
        bool, typer.Option("--keep-splits", help="Keep the splits that the projects have.")
    ] = False,
    background_ratio: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the images without objects that is kept.")
    ] = 1.0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Prefect's log.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of tables.")
    ] = False,
) -> None:
    """Make one YOLO dataset of several projects, which the Ultralytics trainer takes as it is.

    Images that show the same thing stay in one split. The same images, labels, options and seed
    give the same set.

    For example:

      visionflows run prepare-training-set --project sea --project river --val 0.2 --test 0.1
    """
    settings = get_settings()
    prepare_prefect_environment(settings, log_level="INFO" if verbose else "CRITICAL")
    database = open_database(settings)

    from flows.prepare_training_set import prepare_training_set as flow

    if val + test >= 1:
        raise typer.BadParameter(
            f"--val {val:g} and --test {test:g} leave no image to train with; "
            "together they must be below 1."
        )
    state = run_here(
        database,
        lambda: flow(
            projects=project,
            output=None if output is None else str(output),
            task=task.value,
            val=val,
            test=test,
            seed=seed,
            keep_splits=keep_splits,
            background_ratio=background_ratio,
            return_state=True,
        ),
        None if json_output else console.status("Preparing the training set"),
    )
    result = result_of("prepare-training-set", state)
    if json_output:
        job = find_job(database, UUID(result["job_id"]))
        print_json({"job": job_as_json(job), **result})
    elif result["already_running"]:
        print_plain(
            f"{result['output']} is being made already (job {result['job_id']}); "
            "`visionflows status --watch` follows it."
        )
    else:
        print_training_set(result)
