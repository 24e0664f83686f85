"""`visionflows run prepare-training-set`: several projects become one YOLO dataset."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.options import AllRowsOption, JsonOption, RemoteOption, VerboseOption
from deployments.cli.run.here import absolute, prepare, run_flow
from storage.projects.projects import find_project


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
    _all_rows: AllRowsOption = False,
    remote: RemoteOption = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Make one YOLO dataset of several projects, which the Ultralytics trainer takes as it is.

    Images that show the same thing stay in one split. The same images, labels, options and seed
    give the same set.

    For example:

      visionflows run prepare-training-set --project sea --project river --val 0.2 --test 0.1
    """
    if val + test >= 1:
        raise typer.BadParameter(
            f"--val {val:g} and --test {test:g} leave no image to train with; "
            "together they must be below 1."
        )
    database = prepare(verbose=verbose)
    for name in project:
        find_project(database, name)
    run_flow(
        "prepare-training-set",
        {
            "projects": project,
            "output": absolute(output),
            "task": task.value,
            "val": val,
            "test": test,
            "seed": seed,
            "keep_splits": keep_splits,
            "background_ratio": background_ratio,
        },
        database,
        doing="Preparing the training set",
        remote=remote,
        json_output=json_output,
    )
