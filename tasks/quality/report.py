"""What is told of the quality of a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.reports.charts import histogram_line
from tasks.reports.report import Report, Table, count_table, figure


def quality_report(
    project: str,
    overview: Mapping[str, Any],
    counts: tuple[int, int] | None = None,
    snapshot: str | None = None,
) -> Report:
    """The quality of a project: distributions, issues, the worst images, duplicates, failures.

    `overview` has the fields of `storage.projects.quality.QualityOverview`; `counts` are the images
    that a run has measured, and how many of them failed; None without a run.
    """
    mean = overview["mean_overall_quality"]
    groups, failures = overview["duplicate_groups"], overview["failures"]
    kept, kept_count = overview["kept"], overview["kept_count"]
    by_run = f"{counts[0]} measured and {counts[1]} failed in this run; " if counts else ""
    return Report(
        title=f"Quality of {project}",
        sentences=[
            f"{by_run}{project} has "
            f"{overview['images']} images, {overview['completed']} measured, "
            f"{overview['failed']} failed; mean overall quality {figure(mean, '.3f')}.",
            *([] if overview["issues"] else ["No issue was found."]),
            *(
                [
                    f"{kept_count} of these keep an earlier measurement: their files could not be "
                    "measured again, and are looked at again when they change, or with --force."
                ]
                if kept_count
                else []
            ),
        ],
        tables=[
            Table(
                "Distribution, 0 to 1 in tenths",
                ("measure", "shape", "images in each tenth"),
                [
                    (name, histogram_line(counts), " ".join(f"{count:>3}" for count in counts))
                    for name, counts in overview["histograms"].items()
                ],
            ),
            count_table("Issues", overview["issues"], "issue", "images"),
            Table(
                "Lowest overall quality",
                (*("overall", "sharp", "focus", "bright", "contrast", "unique"), "issues", "image"),
                [_measures(row) for row in overview["worst"]],
                more=overview["completed"] - len(overview["worst"]),
            ),
            Table(
                f"Near-duplicates: {overview['duplicate_group_count']} groups",
                ("group", "images"),
                [
                    (str(number), _members(paths, overview["duplicate_group_sizes"][number]))
                    for number, paths in groups.items()
                ],
                more=overview["duplicate_group_count"] - len(groups),
            ),
            Table(
                "Not measured",
                ("image", "reason"),
                failures,
                more=overview["failed"] - len(failures),
            ),
            Table(
                "Kept from an earlier measurement",
                ("image", "why not measured again"),
                kept,
                more=kept_count - len(kept),
            ),
        ],
        places=[] if snapshot is None else [("snapshot", snapshot)],
    )


def _members(paths: Sequence[str], size: int) -> str:
    shown = "  ".join(paths)
    return shown if size == len(paths) else f"{shown}  ... and {size - len(paths)} more"


def _measures(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        figure(row["overall_quality"], ".3f"),
        figure(row["sharpness"], ".3f"),
        figure(row["focus"], ".2f"),
        *(figure(row[name], ".3f") for name in ("brightness", "contrast", "uniqueness")),
        ", ".join(row["issues"]),
        row["relative_path"],
    )
