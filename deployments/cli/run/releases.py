"""`visionflows run` for the flows about releases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from deployments.cli.options import AllRowsOption, JsonOption, RemoteOption, VerboseOption
from deployments.cli.run.here import absolute, prepare, run_each, run_flow
from storage.database.connection import Database
from storage.errors import InvalidInputError
from storage.projects.projects import find_project
from storage.releases import (
    ReleaseRecord,
    choose_archive_path,
    find_release,
    register_release,
)
from storage.settings import check_within_data_roots


def build_release_stats(
    archives: Annotated[
        list[Path] | None,
        typer.Argument(
            help="ZIP archives, or their URLs in buckets; they are registered.", metavar="PATH.zip"
        ),
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
    _all_rows: AllRowsOption = False,
    remote: RemoteOption = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Compute what is in a release: images per split, classes, shapes, problems.

    Nothing is unpacked. Without an archive and a release, all whose statistics are pending or
    stale are built.

    For example:

      visionflows run build-release-stats mussels-2026-05.zip

      visionflows run build-release-stats *.zip

      visionflows run build-release-stats s3://bucket/mussels-2026-05.zip
    """
    if archives and release is not None:
        raise InvalidInputError("Name either a PATH.zip or a --release.")
    database = prepare(verbose=verbose)

    def run_one(archive: str, deliver: Callable[[object], None]) -> None:
        one = _choose(database, archive, release)
        run_flow(
            "build-release-stats",
            {"release": "" if one is None else str(one.id), "force": force, "verify": verify},
            database,
            doing="Reading releases" if one is None else f"Reading {one.name}",
            remote=remote,
            json_output=json_output,
            deliver=deliver,
        )

    run_each([str(path) for path in archives or ()] or [""], run_one, json_output=json_output)


def check_release_stats(
    _all_rows: AllRowsOption = False,
    remote: RemoteOption = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Build the statistics of all releases where they are missing, failed, or outdated.

    For example:

      visionflows run check-release-stats
    """
    database = prepare(verbose=verbose)
    run_flow(
        "check-release-stats",
        {},
        database,
        doing="Reading releases",
        remote=remote,
        json_output=json_output,
    )


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
    train: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of these for train; left out, the rest."),
    ] = None,
    val: Annotated[float, typer.Option(min=0, max=1, help="Share of these for val.")] = 0.2,
    test: Annotated[float, typer.Option(min=0, max=1, help="Share of these for test.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Another seed divides differently.")] = 0,
    with_unlabelled: Annotated[
        bool,
        typer.Option("--with-unlabelled", help="Take images without a label file as backgrounds."),
    ] = False,
    _all_rows: AllRowsOption = False,
    remote: RemoteOption = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Write a project as one ZIP archive to train from, in the YOLO format, and show what is in it.

    The same project and options give the same bytes. A release of that name is written anew.

    For example:

      visionflows run create-release --project mussels --name mussels-2026-05
    """
    database = prepare(verbose=verbose)
    found = find_project(database, project)
    path = absolute(output) or ""
    # Before anything starts: a name or path that cannot be used is refused at once.
    choose_archive_path(database, name, path, for_deployment=False)
    from tasks.trainer.splitting import SplitRatios

    SplitRatios.of_shares(train, val, test)

    run_flow(
        "create-release",
        {
            "project": str(found.id),
            "name": name,
            "task": task,
            "output": path,
            "unsplit": unsplit,
            "train": train,
            "val": val,
            "test": test,
            "seed": seed,
            "with_unlabelled": with_unlabelled,
        },
        database,
        doing=f"Writing {name}",
        remote=remote,
        json_output=json_output,
    )


def _choose(database: Database, archive: str, release: str | None) -> ReleaseRecord | None:
    """The release that is asked for; an archive is registered."""
    if release is not None:
        return find_release(database, release)
    if not archive:
        return None
    path = check_within_data_roots(archive, for_deployment=False, may_be_url=True)
    if not path.is_file():
        raise InvalidInputError(f"There is no file {path}; name the ZIP archive of a release.")
    return register_release(database, path)
