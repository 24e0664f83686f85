"""`visionflows compute-stats`, and the same as `visionflows run compute-session-stats`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from deployments.cli.output.progress import live_job_bar
from deployments.cli.output.sessions import print_sessions_run, sessions_run_as_json
from deployments.cli.output.terminal import print_json, print_plain
from deployments.cli.run.here import result_of, run_here
from deployments.server.environment import prepare_prefect_environment
from storage.database.connection import open_database
from storage.database.tables.jobs import JobKind
from storage.jobs.records import find_job
from storage.settings import get_settings

RootOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder that holds the sessions; left out, VISIONFLOWS_SESSIONS_ROOT, or the folder "
        "that the named sessions were found in."
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force-refresh", help="Compute all again, changed or not.")
]
WithoutManifestOption = Annotated[
    bool,
    typer.Option(
        "--without-manifest/--manifest-only",
        help="Whether sessions without a manifest are told by their images and folder.",
    ),
]
AcceptLossesOption = Annotated[
    bool,
    typer.Option("--accept-losses", help="Go on although more than half of the sessions are gone."),
]
BatchSizeOption = Annotated[int, typer.Option(min=1, max=1000, help="Sessions stored at a time.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", help="Show Prefect's log.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def compute_stats(
    sessions: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ids of sessions, or their paths below the root.", metavar="[SESSION]..."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All sessions below the root.")] = False,
    root: RootOption = None,
    force_refresh: ForceOption = False,
    without_manifest: WithoutManifestOption = True,
    accept_losses: AcceptLossesOption = False,
    batch_size: BatchSizeOption = 50,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Compute what generation sessions promised and what their folders hold.

    Unchanged sessions are not read again, so a second run takes seconds.

    For example:

      visionflows compute-stats --all --root ~/sessions
    """
    if every == bool(sessions):
        raise typer.BadParameter("Name sessions, or give --all for all of them.")
    parameters = {
        "session_ids": None if every else sessions,
        "force_refresh": force_refresh,
        "stats_without_manifest": without_manifest,
        "accept_losses": accept_losses,
        "batch_size": batch_size,
    }
    _run(root, parameters, verbose=verbose, json_output=json_output)


def compute_session_stats(
    root: RootOption = None,
    session: Annotated[
        list[str] | None,
        typer.Option(help="Only this session (its id or path); may be given several times."),
    ] = None,
    force_refresh: ForceOption = False,
    without_manifest: WithoutManifestOption = True,
    accept_losses: AcceptLossesOption = False,
    batch_size: BatchSizeOption = 50,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Compute what generation sessions promised and what their folders hold.

    `visionflows compute-stats` does the same.

    For example:

      visionflows run compute-session-stats --root ~/sessions
    """
    parameters = {
        "session_ids": session or None,
        "force_refresh": force_refresh,
        "stats_without_manifest": without_manifest,
        "accept_losses": accept_losses,
        "batch_size": batch_size,
    }
    _run(root, parameters, verbose=verbose, json_output=json_output)


def _run(
    sessions_root: Path | None, parameters: dict[str, Any], *, verbose: bool, json_output: bool
) -> None:
    """Run the flow in this process and show what it finds."""
    settings = get_settings()
    prepare_prefect_environment(settings, log_level="INFO" if verbose else "CRITICAL")
    database = open_database(settings)

    from flows.compute_session_stats import compute_session_stats as flow
    from flows.compute_session_stats import resolve_sessions_root

    given = None if sessions_root is None else str(sessions_root)
    root = resolve_sessions_root(given, parameters["session_ids"], for_deployment=False)
    bar = live_job_bar(database, JobKind.SESSION_STATS, root, f"Sessions in {root}")
    state = run_here(
        database,
        lambda: flow(sessions_root=root, return_state=True, **parameters),
        None if json_output else bar,
    )
    result = result_of("compute-session-stats", state)
    job = find_job(database, UUID(result["job_id"]))
    if json_output:
        print_json(sessions_run_as_json(database, root, job))
    elif result["already_running"]:
        print_plain(
            f"The sessions in {root} are being computed already (job {job.id}); "
            "`visionflows status --watch` follows it."
        )
    else:
        print_sessions_run(database, root, job)
