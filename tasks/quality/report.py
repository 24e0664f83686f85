"""The quality of a project as Markdown and table rows, for Prefect's artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.reports.charts import histogram_line
from tasks.reports.markdown import escape


def summary_markdown(
    project: str,
    *,
    images: int,
    completed: int,
    failed: int,
    mean_overall_quality: float | None,
    issues: Mapping[str, int],
    histograms: Mapping[str, Sequence[int]],
    worst: Sequence[Mapping[str, Any]],
    failures: Sequence[tuple[str, str]],
    snapshot: str,
) -> str:
    """The summary of a project's quality as a Markdown page.

    Args:
        project: the project's name.
        images: how many images it has.
        completed: how many of them are measured.
        failed: how many could not be measured.
        mean_overall_quality: 0..1; None where no image is measured.
        issues: how many images have each issue.
        histograms: ten counts for each measure.
        worst: `relative_path`, `overall_quality` and `issues` of the images to show.
        failures: path and reason of images that could not be measured.
        snapshot: where all of it lies.
    """
    mean = "–" if mean_overall_quality is None else f"{mean_overall_quality:.3f}"
    lines = [
        f"# Quality of {escape(project)}",
        "",
        f"{images} images, {completed} measured, {failed} failed; mean overall quality {mean}.",
        "",
    ]
    if issues:
        lines += ["| issue | images |", "|---|---:|"]
        lines += [f"| {escape(name)} | {count} |" for name, count in issues.items()]
    else:
        lines += ["No issue was found."]
    lines += [
        "",
        "| measure | 0 to 1, in tenths | counts |",
        "|---|---|---|",
        *(
            f"| {escape(name)} | {_bars(counts)} | {' '.join(map(str, counts))} |"
            for name, counts in histograms.items()
        ),
    ]
    if worst:
        lines += [
            "",
            "## Lowest overall quality",
            "",
            "| image | overall | issues |",
            "|---|---:|---|",
        ]
        lines += [
            f"| {escape(row['relative_path'])} | {row['overall_quality']:.3f} "
            f"| {escape(', '.join(row['issues']))} |"
            for row in worst
        ]
    if failures:
        lines += ["", "## Not measured", "", "| image | reason |", "|---|---|"]
        lines += [f"| {escape(path)} | {escape(reason)} |" for path, reason in failures]
    lines += ["", f"Snapshot: {escape(snapshot)}", ""]
    return "\n".join(lines)


def _bars(counts: Sequence[int]) -> str:
    """Counts as a line of bars in Markdown code; plain blanks at its ends would be cut off."""
    return "`" + histogram_line(counts).replace(" ", "\u00a0") + "`"


def duplicate_group_rows(groups: Mapping[int, Sequence[str]]) -> list[dict[str, Any]]:
    """One row per duplicate group: its number, how many images, which."""
    return [
        {"group": number, "images": len(paths), "paths": ", ".join(paths)}
        for number, paths in groups.items()
    ]
