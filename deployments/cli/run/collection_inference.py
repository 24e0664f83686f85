"""`visionflows run collection-inference`."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import typer

from deployments.cli.output.jobs import job_as_json
from deployments.cli.output.progress import live_job_bar
from deployments.cli.output.runs import print_run, run_as_json
from deployments.cli.output.terminal import print_json, print_plain
from deployments.cli.run.here import result_of, run_here, run_remotely
from deployments.server.environment import prepare_prefect_environment
from storage.database.connection import open_database
from storage.database.tables.jobs import JobKind
from storage.inference.runs import find_run
from storage.jobs.records import find_job
from storage.settings import get_settings


def collection_inference(
    collection: Annotated[str, typer.Option(help="Name or id of the collection.")],
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
    class_mapping: Annotated[
        list[str] | None,
        typer.Option(help="What counts as live and dead, as open=dead,closed=live."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Bring the collection up to date first.")
    ] = False,
    remote: Annotated[
        bool,
        typer.Option("--remote", help="Run it on a worker of the stack (PREFECT_API_URL)."),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show Prefect's log.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of tables.")
    ] = False,
) -> None:
    """Find, outline and count objects on every image of a collection.

    Images that have a result are left out, those that failed are tried again. Another threshold
    needs no inference: what the model has found is kept.

    For example:

      visionflows run collection-inference --collection bay --model mussels --threshold 0.5
    """
    mapping = parse_class_mapping(class_mapping)
    settings = get_settings()
    prepare_prefect_environment(settings, log_level="INFO" if verbose else "CRITICAL")
    database = open_database(settings)

    from flows.collection_inference import collection_inference as flow
    from tasks.inference.runs.order_steps import order_run

    order = order_run(
        database,
        collection=collection,
        model=model,
        threshold=threshold,
        image_size=image_size,
        class_mapping=mapping,
        device=device,
    )
    if remote:
        parameters = {
            "collection": str(order.collection_id),
            "model": str(order.model_id),
            "threshold": threshold,
            "batch_size": batch_size,
            "image_size": image_size,
            "class_mapping": mapping,
            "device": device,
            "refresh": refresh,
        }
        run_remotely(
            database,
            "collection-inference",
            parameters,
            f"{model} on {collection}",
            show=not json_output,
        )
        run = find_run(database, str(order.run_id))
        if json_output:
            print_json({"run": run_as_json(database, run)})
        else:
            print_run(database, run, [])
        return
    bar = live_job_bar(
        database, JobKind.COLLECTION_INFERENCE, str(order.run_id), f"{model} on {collection}"
    )
    state = run_here(
        database,
        lambda: flow(
            collection=collection,
            model=model,
            threshold=threshold,
            batch_size=batch_size,
            image_size=image_size,
            class_mapping=mapping,
            device=device,
            refresh=refresh,
            return_state=True,
        ),
        None if json_output else bar,
    )
    result = result_of("collection-inference", state)
    run = find_run(database, result["run_id"])
    if json_output:
        job = find_job(database, result["job_id"])
        print_json({"job": job_as_json(job), "run": run_as_json(database, run)})
    elif result["already_running"]:
        print_plain(
            f"This run is at work already (job {result['job_id']}); "
            "`visionflows status --watch` follows it."
        )
    else:
        print_plain(
            f"{result['detected']} images went through the model, {result['answered']} were "
            "answered from kept detections."
        )
        print_run(database, run, [("snapshot", result["snapshot"]), ("page", result["report"])])


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
