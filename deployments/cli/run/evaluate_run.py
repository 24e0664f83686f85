"""`visionflows runs evaluate`, which is `visionflows run evaluate-run` too."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from deployments.cli.options import AllRowsOption, JsonOption, RemoteOption, VerboseOption
from deployments.cli.run.here import prepare, run_flow
from storage.errors import InvalidInputError
from storage.inference.runs import find_run


def evaluate_run(
    run: Annotated[str, typer.Argument(help="Id of a run, or its beginning.")],
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="A class of the model and the name that labels have for it, as mussel_live=live.",
            show_default=False,
        ),
    ] = None,
    unlabelled: Annotated[
        Literal["left-out", "background"],
        typer.Option(help="What images without a label file are."),
    ] = "left-out",
    average_precision: Annotated[
        bool,
        typer.Option(
            "--average-precision",
            help="Have the model look once more, down to the confidence 0.001, for AP and AR.",
        ),
    ] = False,
    _all_rows: AllRowsOption = False,
    remote: RemoteOption = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Compare what a run has found with the labels of its images, at every threshold.

    For example:

      visionflows runs evaluate 3f2a

      visionflows run evaluate-run 3f2a --class mussel_live=live --average-precision
    """
    mapping: dict[str, str] = {}
    for pair in classes or []:
        model, separator, label = pair.partition("=")
        if not (separator and model.strip() and label.strip()):
            raise InvalidInputError(f"--class {pair!r} is no pair; give it as MODEL=LABEL.")
        if mapping.setdefault(model, label) != label:
            raise InvalidInputError(
                f"--class gives {model!r} for both {mapping[model]!r} and {label!r}: choose one."
            )
    database = prepare(verbose=verbose)
    run_flow(
        "evaluate-run",
        {
            "run": str(find_run(database, run).id),
            "class_mapping": mapping or None,
            "unlabelled": unlabelled.replace("-", " "),
            "average_precision": average_precision,
        },
        database,
        doing="Evaluating a run",
        remote=remote,
        json_output=json_output,
    )
