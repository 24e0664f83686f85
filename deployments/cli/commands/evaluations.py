"""`visionflows evaluations`: how good runs are."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.cli.options import AllRowsOption, CsvOption, JsonOption, YesOption
from deployments.cli.output.removals import remove_thing
from deployments.cli.output.tables import print_list, print_report, print_table
from deployments.cli.output.terminal import print_json, print_plain, print_records, rows_to_load
from storage.database.connection import open_database
from storage.database.tables.removals import RemovalNoun
from storage.inference.evaluations import (
    find_evaluation,
    list_evaluations,
    load_curves,
    load_mistakes,
)
from storage.inference.runs import find_run
from storage.settings import get_settings

app = typer.Typer(no_args_is_help=True, help="See how good runs are, by the labels of images.")

EvaluationArgument = Annotated[str, typer.Argument(help="Id of the evaluation, or its beginning.")]
_STEPS = tuple(step / 20 for step in range(1, 20))


@app.command("list")
def list_(
    run: Annotated[str | None, typer.Option(help="Only those of this run.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many evaluations.")] = 20,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the evaluations, the newest first.

    For example:

      visionflows evaluations list --run 3f2a
    """
    database = open_database()
    run_id = None if run is None else find_run(database, run).id
    found = list_evaluations(database, run_id=run_id, limit=limit)
    if json_output or csv_output:
        print_records([vars(one) for one in found], as_csv=csv_output)
    elif not found:
        print_plain("There is no evaluation; `visionflows runs evaluate RUN` makes one.")
    else:
        rows = []
        for one in found:
            whole = one.figures["classes"][0]
            at, best = whole["at_threshold"], whole["best_counts"]
            rows.append(
                (
                    *(str(one.id)[:8], str(one.run_id)[:8], one.collection, one.model),
                    f"{one.threshold:g}",
                    *(str(one.figures["images"]), str(one.figures["labels"])),
                    "–" if at["f1"] is None else f"{at['f1']:.3f}",
                    f"{best['threshold']:g}",
                )
            )
        print_list(
            (
                *("evaluation", "run", "collection", "model", "threshold", "images"),
                *("labels", "F1", "counts best at"),
            ),
            rows,
        )


@app.command()
def show(
    evaluation: EvaluationArgument,
    _all_rows: AllRowsOption = False,
    json_output: JsonOption = False,
) -> None:
    """Show how good a run is, at which thresholds, and which labels to look at again.

    For example:

      visionflows evaluations show 5c1d
    """
    from tasks.inference.evaluation.report import ALL_CLASSES, evaluation_report, threshold_lines
    from tasks.reports.report import Table

    database = open_database()
    found = find_evaluation(database, evaluation)
    mistakes, curves = load_mistakes(database, found.id), load_curves(database, found.id)
    if json_output:
        print_json({**vars(found), "curves": curves, "mistakes": mistakes})
        return
    page = get_settings().report_page("evaluate-run", found.id)
    values = {**vars(found), "mistakes": mistakes[: rows_to_load()]}
    print_report(
        evaluation_report({**values, "mistake_count": len(mistakes)}),
        *([("page", str(page))] if page.exists() else []),
    )
    print_plain("")
    columns = ("above", "precision", "recall", "F1", "", "bias", "mean absolute error")
    rows = threshold_lines(curves[ALL_CLASSES], _STEPS)
    print_table(Table("All classes at every threshold", columns, rows, brief=None))


@app.command()
def compare(
    first: EvaluationArgument, second: EvaluationArgument, json_output: JsonOption = False
) -> None:
    """Compare two evaluations on the images that both have, with intervals.

    For example:

      visionflows evaluations compare 5c1d 91e0
    """
    from tasks.inference.evaluation.report import comparison_report
    from tasks.inference.evaluation.steps import compare_evaluations

    database = open_database()
    one, other = find_evaluation(database, first), find_evaluation(database, second)
    found = compare_evaluations(database, one, other)
    if json_output:
        print_json(found)
    else:
        print_report(comparison_report(found))


@app.command()
def remove(
    evaluation: EvaluationArgument, yes: YesOption = False, json_output: JsonOption = False
) -> None:
    """Remove an evaluation, with its snapshots and its page; the run stays.

    For example:

      visionflows evaluations remove 5c1d
    """
    remove_thing(RemovalNoun.EVALUATION, evaluation, yes=yes, json_output=json_output)
