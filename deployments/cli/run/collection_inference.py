"""`visionflows run collection-inference`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, cast

import typer

from deployments.cli.options import AllRowsOption, JsonOption, RemoteOption, VerboseOption
from deployments.cli.run.here import prepare, run_each, run_flow


def collection_inference(
    collections: Annotated[
        list[str],
        typer.Option(
            "--collection", help="Name or id of a collection; may be given several times."
        ),
    ],
    model: Annotated[str, typer.Option(help="Name, id or path of a registered model.")],
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Objects must be more confident than this.")
    ] = 0.5,
    batch_size: Annotated[
        int | None, typer.Option(min=1, max=512, help="Images stored (and on a GPU run) together.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Longer side that the model sees; left out, its own.")
    ] = None,
    max_detections: Annotated[
        int, typer.Option(min=1, max=10_000, help="So many objects of an image are counted.")
    ] = 300,
    class_mapping: Annotated[
        list[str] | None,
        typer.Option(help="What counts as live and dead, as open=dead,closed=live."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Bring the collection up to date first.")
    ] = False,
    _all_rows: AllRowsOption = False,
    remote: RemoteOption = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Find, outline and count objects on every image of a collection.

    Images that have a result are left out, those that failed are tried again. Another threshold
    needs no inference: what the model has found is kept.

    For example:

      visionflows run collection-inference --collection bay --model mussels --threshold 0.5
    """
    mapping = parse_class_mapping(class_mapping)
    database = prepare(verbose=verbose)

    from tasks.inference.runs.order_steps import order_run

    def run_one(collection: str, deliver: Callable[[object], None]) -> None:
        # Before anything starts: what cannot be run is refused at once.
        order = order_run(
            database,
            collection=collection,
            model=model,
            threshold=threshold,
            image_size=image_size,
            max_detections=max_detections,
            class_mapping=mapping,
            device=device,
        )

        run_flow(
            "collection-inference",
            {
                "collection": collection,
                # A path of this machine may not be there where the worker is.
                "model": str(order.model_id) if remote else model,
                "threshold": threshold,
                "batch_size": batch_size,
                "image_size": image_size,
                "max_detections": max_detections,
                "class_mapping": mapping,
                "device": device,
                "refresh": refresh,
            },
            database,
            doing=f"{model} on {collection}",
            remote=remote,
            json_output=json_output,
            deliver=deliver,
        )

    run_each(collections, run_one, json_output=json_output)


def parse_class_mapping(
    values: list[str] | None,
) -> dict[str, Literal["live", "dead"]] | None:
    """Read what counts as live and dead, as `open=dead,closed=live`.

    Raises:
        typer.BadParameter: something is not of this form, or a name has two meanings.
    """
    if values is None:
        return None
    mapping: dict[str, Literal["live", "dead"]] = {}
    for part in (part for value in values for part in value.split(",") if part.strip()):
        name, _, meaning = part.rpartition("=")
        meaning = meaning.strip().casefold()
        if not name.strip() or meaning not in ("live", "dead"):
            raise typer.BadParameter(
                f"--class-mapping: {part.strip()!r} is not of the form NAME=live or NAME=dead."
            )
        if mapping.setdefault(name.strip(), cast(Literal["live", "dead"], meaning)) != meaning:
            raise typer.BadParameter(
                f"--class-mapping: {name.strip()!r} is given as both live and dead."
            )
    if not mapping:
        raise typer.BadParameter("--class-mapping: no class is named; give NAME=live or NAME=dead.")
    return mapping
