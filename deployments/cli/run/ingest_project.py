"""`visionflows run ingest-project`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError

from deployments.cli.options import (
    AcceptLossesOption,
    AllRowsOption,
    JsonOption,
    RemoteOption,
    VerboseOption,
)
from deployments.cli.run.here import absolute, prepare, run_each, run_flow
from storage.files import require_room
from storage.settings import get_settings


def ingest_project(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders or ZIP files; left out, projects are compared with their own.",
            metavar="SOURCE",
        ),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(help="Name or id of the project; left out, each is named after its source."),
    ] = None,
    mode: Annotated[
        Literal["copy", "link"],
        typer.Option(help="Copy the files, or link the folder where it is."),
    ] = "copy",
    augment: Annotated[
        list[str] | None,
        typer.Option(
            help="Make such a copy of every image: hflip, vflip, r90, r180, r270, bright, dark, "
            "blur, noise. May be given several times, or with commas."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives other noise.")] = 0,
    tile: Annotated[
        int | None, typer.Option(help="Cut larger images into tiles with sides of so many pixels.")
    ] = None,
    overlap: Annotated[float, typer.Option(help="Part of a side that tiles share.")] = 0.2,
    background: Annotated[
        float, typer.Option(help="Part of the tiles without objects that is kept.")
    ] = 0.1,
    resize: Annotated[
        int | None, typer.Option(help="Make a smaller copy whose longer side has so many pixels.")
    ] = None,
    remove_generated: Annotated[
        bool, typer.Option("--remove-generated", help="Remove all images generated earlier.")
    ] = False,
    accept_losses: AcceptLossesOption = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Take images of the source also in the place of those edited in the project.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    _all_rows: AllRowsOption = False,
    remote: RemoteOption = False,
    verbose: VerboseOption = False,
    json_output: JsonOption = False,
) -> None:
    """Bring the images and labels of a folder or ZIP into a project, or projects up to date.

    Either everything becomes part of the project or nothing; what is there already is recognised.

    For example:

      visionflows run ingest-project mussels.zip --project mussels

      visionflows run ingest-project spring.zip summer.zip autumn

      visionflows run ingest-project s3://bucket/mussels --project mussels

      visionflows run ingest-project --project mussels --augment hflip,r90 --tile 640

      visionflows run ingest-project
    """
    sources = sources or []
    if len(sources) == 1 and not remote:
        from storage.files.places import ObjectPath, place_of
        from tasks.projects.sources.source import check_is_source

        source = place_of(sources[0].expanduser())
        check_is_source(source)
        is_local = not isinstance(source, ObjectPath)
        if mode == "copy" and is_local and source.is_file():
            # An archive of images is about as large as they are; what exactly is written is
            # compared with the room again when it is known.
            require_room(get_settings().home, source.stat().st_size)
    database = prepare(verbose=verbose)
    if project is not None and not sources:
        from storage.projects.projects import find_project

        find_project(database, project)

    from tasks.projects.generated.options import GenerationOptions

    names = [part.strip() for value in augment or [] for part in value.split(",") if part.strip()]
    tiling = {"size": tile, "overlap": overlap, "background": background}
    try:
        generate = GenerationOptions.model_validate(
            {
                "augmentations": names,
                "seed": seed,
                "tiling": None if tile is None else tiling,
                "resize": resize,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = {"augmentations": "--augment", "tiling": "--tile, --overlap or --background"}
        option = place.get(str(first["loc"][0]), f"--{first['loc'][0]}")
        raise typer.BadParameter(f"{option}: {first['msg']}.") from None

    def run_one(source: str, deliver: Callable[[object], None]) -> None:
        run_flow(
            "ingest-project",
            {
                "source": absolute(Path(source)) if source else None,
                "project": project,
                "mode": mode,
                "generate": generate.model_dump(mode="json"),
                "remove_generated": remove_generated,
                "accept_losses": accept_losses,
                "overwrite": overwrite,
                "dry_run": dry_run,
            },
            database,
            doing=f"Ingesting {project or Path(source).name or 'projects'}",
            remote=remote,
            json_output=json_output,
            deliver=deliver,
        )

    run_each([str(source) for source in sources] or [""], run_one, json_output=json_output)
