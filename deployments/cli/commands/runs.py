"""`visionflows runs`: what models have found on collections."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from deployments.cli.options import AllRowsOption, CsvOption, JsonOption, YesOption
from deployments.cli.output.removals import remove_thing
from deployments.cli.output.runs import print_counts, print_run, print_runs
from deployments.cli.output.terminal import print_json, print_plain, print_problem, print_records
from deployments.cli.run.compare_runs import compare_runs
from deployments.cli.run.evaluate_run import evaluate_run
from storage.database.connection import open_database
from storage.database.tables.removals import RemovalNoun
from storage.inference.collections import find_collection
from storage.inference.kept_counts import load_kept_counts
from storage.inference.results import describe_run
from storage.inference.runs import find_run, list_runs
from tasks.reports.report import counted

app = typer.Typer(no_args_is_help=True, help="Look at runs of models over collections.")

app.command("compare")(compare_runs)
app.command("evaluate")(evaluate_run)

# A program that reads JSON would take a part for the whole.
_TABLE_ROWS, _EVERY_RUN = 20, 1_000_000

RunArgument = Annotated[str, typer.Argument(help="Id of the run, or its beginning.")]


@app.command("list")
def list_(
    collection: Annotated[
        str | None, typer.Option(help="Only runs over this collection (name or id).")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"How many runs. Left out, {_TABLE_ROWS} in tables and all in JSON.",
            show_default=False,
        ),
    ] = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the runs, the newest first.

    For example:

      visionflows runs list --collection bay
    """
    database = open_database()
    collection_id = None if collection is None else find_collection(database, collection).id
    if limit is None:
        limit = _EVERY_RUN if json_output else _TABLE_ROWS
    runs = list_runs(database, collection_id=collection_id, limit=limit)
    if json_output or csv_output:
        print_records([asdict(run) for run in runs], as_csv=csv_output)
    elif not runs:
        print_plain("There is no run; `visionflows run collection-inference` makes one.")
    else:
        print_runs(runs)
        if len(runs) == limit:
            print_problem(f"The newest {limit} are shown; a greater --limit shows more.")


@app.command()
def show(
    run: RunArgument, _all_rows: AllRowsOption = False, json_output: JsonOption = False
) -> None:
    """Show what a run has counted, what failed, and where its polygons lie.

    For example:

      visionflows runs show 3f2a
    """
    database = open_database()
    found = find_run(database, run)
    if json_output:
        print_json(describe_run(database, found))
    else:
        print_run(database, found)


_SHOWN_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@app.command()
def counts(
    run: RunArgument,
    threshold: Annotated[
        list[float] | None,
        typer.Option(
            min=0,
            max=1,
            help="A threshold in thousandths; may be given again. Left out, 0.1, 0.2, ... 0.9.",
            show_default=False,
        ),
    ] = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """Count what a run has found at other thresholds, from what is kept: nothing is inferred again.

    For example:

      visionflows runs counts 3f2a --threshold 0.25 --threshold 0.4
    """
    from tasks.inference.exports.threshold_curve import count_curves, step_of
    from tasks.inference.runs.live_dead import live_dead_classes

    database = open_database()
    found = find_run(database, run)
    kept = load_kept_counts(database, found.id)
    names = found.class_names
    curves = count_curves(kept.counts, names, live_dead_classes(names, found.class_mapping))
    records = [
        {
            "threshold": one,
            "classes": {name: at_step[step_of(one)] for name, at_step in curves.classes.items()},
            "live": curves.live[step_of(one)],
            "dead": curves.dead[step_of(one)],
        }
        for one in threshold or _SHOWN_THRESHOLDS
    ]
    floor = kept.floor_confidence
    if json_output or csv_output:
        print_records(records, as_csv=csv_output)
    else:
        print_counts(records, list(curves.classes), images=kept.images)
    if floor is not None and any(one < floor for one in threshold or ()):
        print_problem(
            f"Nothing less confident than {floor:g} is kept: below it the counts are too small."
        )


@app.command()
def export(
    run: RunArgument,
    format_: Annotated[
        Literal["csv", "yolo", "coco", "labelme", "label-studio"],
        typer.Option("--format", help="Counts of each image, labels, or predictions to correct."),
    ],
    output: Annotated[
        Path, typer.Option(help="The file: .csv; .zip (yolo, labelme); .json (coco, label-studio).")
    ],
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Another than that of the run, down to what is kept.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write over a file that is there.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Write what a run has found as one file: a table of counts, labels, or predictions.

    Labels lie beside the images when they are unpacked in the collection's folder. Predictions are
    for Label Studio: corrected there and exported as JSON, they come back with `ingest-project`.

    For example:

      visionflows runs export 3f2a --format yolo --output labels.zip

      visionflows runs export 3f2a --format label-studio --threshold 0.3 --output tasks.json
    """
    from tasks.inference.exports.files import ExportFormat
    from tasks.inference.exports.steps import export_run, order_export
    from tasks.labels.formats.json_documents.label_studio_writer import labelling_interface

    database = open_database()
    found = find_run(database, run)
    order = order_export(database, found, ExportFormat(format_), threshold)
    path = output.expanduser().absolute()
    sums = export_run(database, found, order, path, overwrite=overwrite)
    interface = labelling_interface(order.class_names, order.kind)
    is_for_label_studio = order.format is ExportFormat.LABEL_STUDIO
    if json_output:
        told = {"path": path, "threshold": order.threshold, **asdict(sums)}
        print_json(told | ({"labelling_interface": interface} if is_for_label_studio else {}))
        return
    print_plain(
        f"{path}: {counted(sums.objects, 'object')} on {counted(sums.images, 'image')} above "
        f"{order.threshold:g}."
    )
    if sums.left_out:
        print_problem(f"{counted(sums.left_out, 'image')} failed and are not counted.")
    if is_for_label_studio:
        print_plain(f"Label Studio's labelling interface for it:\n{interface}")


@app.command()
def remove(run: RunArgument, yes: YesOption = False, json_output: JsonOption = False) -> None:
    """Remove a run: its results, polygons, snapshots, pages, and comparisons with it.

    For example:

      visionflows runs remove 3f2a
    """
    remove_thing(RemovalNoun.RUN, run, yes=yes, json_output=json_output)
