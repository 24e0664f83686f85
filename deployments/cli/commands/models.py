"""`visionflows models`: which weights may be loaded."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.options import CsvOption, JsonOption, YesOption
from deployments.cli.output.removals import remove_thing
from deployments.cli.output.tables import print_list
from deployments.cli.output.terminal import print_json, print_plain, print_records
from storage.database.connection import open_database
from storage.database.tables.removals import RemovalNoun
from storage.inference.models import add_model, list_models
from storage.settings import check_within_data_roots

app = typer.Typer(no_args_is_help=True, help="Register weights, and list them.")


@app.command()
def add(
    path: Annotated[
        Path, typer.Argument(help="A .pt or .onnx file, or an OpenVINO folder; or its URL.")
    ],
    name: Annotated[
        str | None, typer.Option(help="A name of your choice; left out, that of the file.")
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Load a .pt file whatever it runs; you know who made it."),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Register weights; from now on they are loaded only while they are unchanged.

    Loading a .pt file can run anything. So it is first read without being run, and refused if it
    names more than layers of PyTorch and Ultralytics, unless --trust is given. The path is one of
    this machine, or a URL of a bucket (s3://, gs://, az://), from which each run reads them.

    For example:

      visionflows models add samples/mussels/mussels.onnx
    """
    from storage.database.names import check_name
    from tasks.inference.runs.steps import describe_model

    if name is not None:
        check_name(name)
    found = check_within_data_roots(path, for_deployment=False, may_be_url=True)
    model = add_model(open_database(), describe_model(found, is_trusted=trust), name=name)
    if json_output:
        print_json(asdict(model))
        return
    print_plain(
        f"{model.name}: {model.task}, {len(model.class_names)} classes "
        f"({_some(model.class_names)}), {model.image_size} pixels, {model.format}, "
        f"sha256 {model.sha256[:12]}…"
    )


@app.command("list")
def list_(json_output: JsonOption = False, csv_output: CsvOption = False) -> None:
    """List the registered models.

    For example:

      visionflows models list
    """
    models = list_models(open_database())
    if json_output or csv_output:
        print_records([asdict(model) for model in models], as_csv=csv_output)
        return
    if not models:
        print_plain("No model is registered; `visionflows models add PATH` does so.")
        return
    print_list(
        ("model", "task", "classes", "pixels", "sha256", "weights"),
        [
            (
                model.name,
                model.task,
                _some(model.class_names),
                str(model.image_size),
                model.sha256[:12],
                str(model.weights_path),
            )
            for model in models
        ],
    )


@app.command()
def remove(
    model: Annotated[str, typer.Argument(help="Name or id of the model.")],
    yes: YesOption = False,
    json_output: JsonOption = False,
) -> None:
    """Remove a model with its runs and all that it has found; its weights stay where they are.

    For example:

      visionflows models remove mussels
    """
    remove_thing(RemovalNoun.MODEL, model, yes=yes, json_output=json_output)


def _some(names: tuple[str, ...], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
