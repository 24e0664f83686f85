"""`visionflows run` for the flows about releases."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import ValidationError

from deployments.cli.output.progress import live_job_bar
from deployments.cli.output.releases import (
    as_sentence,
    print_release,
    print_releases,
    release_as_json,
)
from deployments.cli.output.terminal import print_json, print_plain, print_problem
from deployments.cli.run.here import run_here
from deployments.server.environment import prepare_prefect_environment
from storage.data_roots import check_within_data_roots
from storage.database.connection import Database, open_database
from storage.database.tables.jobs import JobKind
from storage.errors import InvalidInputError, VisionflowsError
from storage.projects.projects import find_project
from storage.releases import ReleaseRecord, find_release, register_release
from storage.settings import get_settings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

VerboseOption = Annotated[bool, typer.Option("--verbose", help="Show Prefect's log.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def build_release_stats(
    archive: Annotated[
        Path | None, typer.Argument(help="A ZIP archive; it is registered.", metavar="[PATH.zip]")
    ] = None,
    release: Annotated[str | None, typer.Option(help="Name or id of a registered release.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compute also where the archive has not changed.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Count the members also where the archive brings its own figures."
        ),
    ] = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Compute what is in a release: images per split, classes, shapes, problems.

    Nothing is unpacked. Without an archive and a release, all whose statistics are pending or
    stale are built.

    For example:

      visionflows run build-release-stats mussels-2026-05.zip
    """
    prepare_prefect_environment(get_settings(), log_level="INFO" if verbose else "CRITICAL")
    database = open_database()
    one = _choose(database, archive, release)
    from flows.build_release_stats import build_release_stats as flow

    state = run_here(
        database,
        lambda: flow(
            release="" if one is None else str(one.id),
            force=force,
            verify=verify,
            return_state=True,
        ),
        None if one is None or json_output else _bar(database, one),
    )
    _show(database, state, one, json_output=json_output)


def check_release_stats(verbose: VerboseOption = False, json_output: JsonOption = False) -> None:
    """Build the statistics of all releases where they are missing, failed, or outdated.

    For example:

      visionflows run check-release-stats
    """
    prepare_prefect_environment(get_settings(), log_level="INFO" if verbose else "CRITICAL")
    database = open_database()
    from flows.check_release_stats import check_release_stats as flow

    state = run_here(database, lambda: flow(return_state=True))
    _show(database, state, None, json_output=json_output)


def create_release(
    project: Annotated[str, typer.Option(help="Name or id of the project.")],
    name: Annotated[str, typer.Option(help="Name of the release.")],
    task: Annotated[
        Literal["detect", "segment", "obb", "pose"],
        typer.Option(help="What it trains: boxes, outlines, oriented boxes, or keypoints."),
    ] = "detect",
    output: Annotated[
        Path | None, typer.Option(help="The archive; left out, it lies under the home folder.")
    ] = None,
    unsplit: Annotated[
        Literal["divide", "train"], typer.Option(help="What becomes of images without a split.")
    ] = "divide",
    train: Annotated[float, typer.Option(min=0, max=1, help="Share of these for train.")] = 0.8,
    val: Annotated[float, typer.Option(min=0, max=1, help="Share of these for val.")] = 0.2,
    test: Annotated[float, typer.Option(min=0, max=1, help="Share of these for test.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Another seed divides differently.")] = 0,
    with_unlabelled: Annotated[
        bool,
        typer.Option("--with-unlabelled", help="Take images without a label file as backgrounds."),
    ] = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Write a project as one ZIP archive to train from, in the YOLO format, and show what is in it.

    The same project and options give the same bytes. A release of that name is written anew.

    For example:

      visionflows run create-release --project mussels --name mussels-2026-05
    """
    prepare_prefect_environment(get_settings(), log_level="INFO" if verbose else "CRITICAL")
    database = open_database()
    found = find_project(database, project)
    from flows.create_release import choose_archive_path
    from flows.create_release import create_release as flow

    path = choose_archive_path(
        database, name, "" if output is None else str(output), for_deployment=False
    )
    state = run_here(
        database,
        lambda: flow(
            project=str(found.id),
            name=name,
            task=task,
            output=str(path),
            unsplit=unsplit,
            train=train,
            val=val,
            test=test,
            seed=seed,
            with_unlabelled=with_unlabelled,
            return_state=True,
        ),
        None
        if json_output
        else live_job_bar(database, JobKind.CREATE_RELEASE, name, f"Writing {name}"),
    )
    result = state.result(raise_on_failure=False)
    if not isinstance(result, dict):
        raise VisionflowsError(f"create-release failed: {reason_of(state, result)}")
    if result["already_running"]:
        print_plain(
            f"{name} is being written already (job {result['job_id']}); "
            "`visionflows status --watch` follows it."
        )
        return
    release = find_release(database, result["release_id"])
    if json_output:
        print_json({**result, "release": release_as_json(database, release)})
        return
    for problem in result["problems"]:
        print_plain(f"{problem['code']}: {problem['count']} ({problem['example']})")
    print_release(database, release)


def reason_of(state: State[Any], result: object) -> str:
    """Why a flow failed, without the words of Prefect around it."""
    if isinstance(result, VisionflowsError | ValidationError):
        return str(result)
    return state.message or "for an unknown reason"


def _choose(database: Database, archive: Path | None, release: str | None) -> ReleaseRecord | None:
    """The release that is asked for; an archive is registered."""
    if archive is not None and release is not None:
        raise InvalidInputError("Name either a PATH.zip or a --release.")
    if release is not None:
        return find_release(database, release)
    if archive is None:
        return None
    path = check_within_data_roots(archive, for_deployment=False)
    if not path.is_file():
        raise InvalidInputError(f"There is no file {path}; name the ZIP archive of a release.")
    return register_release(database, path)


def _bar(database: Database, release: ReleaseRecord) -> AbstractContextManager[None]:
    return live_job_bar(database, JobKind.RELEASE_STATS, str(release.id), f"Reading {release.name}")


def _show(
    database: Database,
    state: State[Any],
    one: ReleaseRecord | None,
    *,
    json_output: bool,
) -> None:
    """Print what was done; a run in which nothing succeeded ends with an error."""
    result = state.result(raise_on_failure=False)
    if not isinstance(result, dict):
        raise VisionflowsError(f"The flow failed: {reason_of(state, result)}")
    outcomes = result["releases"]
    failures = [outcome for outcome in outcomes if outcome["outcome"] == "failed"]
    releases = [find_release(database, outcome["release_id"]) for outcome in outcomes]
    if json_output:
        print_json(
            [
                {
                    "outcome": outcome["outcome"],
                    "job_id": outcome["job_id"],
                    "message": outcome["message"],
                    "release": release_as_json(database, release),
                }
                for outcome, release in zip(outcomes, releases, strict=True)
            ]
        )
    elif one is None:
        _print_all(outcomes, releases, state.message)
    elif outcomes[0]["outcome"] == "already_running":
        print_plain(
            f"The statistics of {one.name} are being built already (job {outcomes[0]['job_id']}); "
            "`visionflows status --watch` follows it."
        )
    elif not failures:
        print_release(database, releases[0])
    if state.is_failed():
        raise VisionflowsError(
            failures[0]["message"] if len(failures) == 1 else f"all {len(failures)} builds failed."
        )


def _print_all(
    outcomes: list[dict[str, Any]], releases: list[ReleaseRecord], message: str | None
) -> None:
    if releases:
        print_releases(releases)
    print_plain(as_sentence(message or ""))
    for outcome in outcomes:
        if outcome["outcome"] == "failed":
            print_problem(f"{outcome['name']}: {outcome['message']}")
