"""What `visionflows run quality-metrics` prints at the end."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from deployments.cli.output.jobs import job_as_json
from deployments.cli.output.terminal import console, plain, print_plain, printable
from storage.database.connection import Database
from storage.jobs.records import JobRecord
from storage.projects.projects import ProjectRecord
from storage.projects.quality import QualityOverview, load_quality_overview
from tasks.reports.charts import histogram_line

_ROWS = 10


def quality_as_json(database: Database, project: ProjectRecord, job: JobRecord) -> dict[str, Any]:
    """The job and the quality of its project, for `--json`."""
    overview = load_quality_overview(database, project.id)
    return {"job": job_as_json(job), "project": project.name, "quality": asdict(overview)}


def print_quality(database: Database, project: ProjectRecord, job: JobRecord) -> None:
    """The quality of a project as tables, and where the whole of it lies."""
    overview = load_quality_overview(database, project.id)
    mean = overview.mean_overall_quality
    console.print(
        Text.assemble(
            (str(job.processed), "bold"),
            " measured and ",
            (str(job.failed), "bold"),
            f" failed in this run; {printable(project.name)} has {overview.images} images, "
            f"{overview.completed} measured, {overview.failed} failed",
            *(() if mean is None else ("; mean overall quality ", (f"{mean:.3f}", "bold"))),
            ".",
        )
    )
    console.print()
    console.print(_measures(overview))
    if overview.issues:
        console.print()
        console.print(_issues(overview))
    if overview.worst:
        console.print()
        console.print(_worst(overview))
    if overview.duplicate_groups:
        console.print()
        console.print(_duplicates(overview))
    if overview.failures:
        console.print()
        console.print(_failures(overview))
    _print_places(project, job)


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=None, header_style="dim"
    )


def _measures(overview: QualityOverview) -> Table:
    table = _table("Distribution, 0 to 1 in tenths")
    table.add_column("measure")
    table.add_column("shape")
    table.add_column("images in each tenth")
    for name, counts in overview.histograms.items():
        table.add_row(name, histogram_line(counts), " ".join(f"{count:>3}" for count in counts))
    return table


def _issues(overview: QualityOverview) -> Table:
    table = _table("Issues")
    table.add_column("issue")
    table.add_column("images", justify="right")
    for name, count in overview.issues.items():
        table.add_row(name, str(count))
    return table


def _worst(overview: QualityOverview) -> Table:
    table = _table("Lowest overall quality")
    for title in ("overall", "sharp", "focus", "bright", "contrast", "unique"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("issues and image", overflow="fold")
    for row in overview.worst[:_ROWS]:
        focus = "–" if row["focus"] is None else f"{row['focus']:.2f}"
        table.add_row(
            f"{row['overall_quality']:.3f}",
            f"{row['sharpness']:.3f}",
            focus,
            f"{row['brightness']:.3f}",
            f"{row['contrast']:.3f}",
            f"{row['uniqueness']:.3f}",
            plain(f"{', '.join(row['issues'])}  {row['relative_path']}".strip()),
        )
    return table


def _duplicates(overview: QualityOverview) -> Table:
    table = _table(f"Near-duplicates: {overview.duplicate_group_count} groups")
    table.add_column("group", justify="right")
    table.add_column("images", overflow="fold")
    for number, paths in list(overview.duplicate_groups.items())[:_ROWS]:
        table.add_row(str(number), plain("  ".join(paths)))
    return table


def _failures(overview: QualityOverview) -> Table:
    table = _table("Not measured")
    table.add_column("image", overflow="fold")
    table.add_column("reason", overflow="fold")
    for path, reason in overview.failures[:_ROWS]:
        table.add_row(plain(path), plain(reason))
    return table


def _print_places(project: ProjectRecord, job: JobRecord) -> None:
    snapshot = (job.result or {}).get("snapshot")
    if snapshot:
        console.print()
        console.print("[bold]Where it lies[/bold]")
        print_plain(f"  snapshot  {snapshot}")
        print_plain(
            f'  table     {_this_command()} db shell -c "SELECT relative_path, overall_quality, '
            f"issues FROM image_quality WHERE project_id = '{project.id}' LIMIT 10\""
        )


def _this_command() -> str:
    """How a person types this very command again: the same program on the same home."""
    home = os.environ.get("VISIONFLOWS_HOME")
    setting = "" if home is None else f"VISIONFLOWS_HOME={shlex.quote(home)} "
    is_on_path = shutil.which("visionflows") == str(Path(sys.argv[0]).absolute())
    return setting + ("visionflows" if is_on_path else shlex.quote(sys.argv[0]))
