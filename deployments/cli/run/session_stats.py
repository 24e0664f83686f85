"""`visionflows compute-stats`, and the same as `visionflows run compute-session-stats`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deployments.cli.options import (
    AllRowsOption,
    JsonOption,
    OnlyAllRowsOption,
    RemoteOption,
    VerboseOption,
)
from deployments.cli.run.here import prepare, run_flow
from storage.sessions.root import resolve_sessions_root

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


def compute_stats(
    sessions: Annotated[
        list[str] | None,
        typer.Argument(help="Ids of sessions, or their paths below the root.", metavar="SESSION"),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All sessions below the root.")] = False,
    root: RootOption = None,
    force_refresh: ForceOption = False,
    without_manifest: WithoutManifestOption = True,
    accept_losses: AcceptLossesOption = False,
    batch_size: BatchSizeOption = 50,
    _all_rows: OnlyAllRowsOption = False,
    remote: RemoteOption = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Compute what generation sessions promised and what their folders hold.

    Unchanged sessions are not read again, so a second run takes seconds. `visionflows run
    compute-session-stats` does the same.

    For example:

      visionflows compute-stats --all --root ~/sessions
    """
    if every == bool(sessions):
        raise typer.BadParameter("Name sessions, or give --all for all of them.")
    compute_session_stats(
        root=root,
        session=sessions,
        force_refresh=force_refresh,
        without_manifest=without_manifest,
        accept_losses=accept_losses,
        batch_size=batch_size,
        remote=remote,
        verbose=verbose,
        json_output=json_output,
    )


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
    _all_rows: AllRowsOption = False,
    remote: RemoteOption = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Compute what generation sessions promised and what their folders hold.

    `visionflows compute-stats` does the same.

    For example:

      visionflows run compute-session-stats --root ~/sessions
    """
    database = prepare(verbose=verbose)

    # Before anything starts: a folder that cannot be used is refused at once.
    sessions_root = resolve_sessions_root(
        None if root is None else str(root), session or None, for_deployment=False
    )

    run_flow(
        "compute-session-stats",
        {
            "sessions_root": sessions_root,
            "session_ids": session or None,
            "force_refresh": force_refresh,
            "stats_without_manifest": without_manifest,
            "accept_losses": accept_losses,
            "batch_size": batch_size,
        },
        database,
        doing=f"Sessions in {sessions_root}",
        remote=remote,
        json_output=json_output,
    )
