"""The quality of a project as Markdown and table rows, for Prefect's artifacts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_BAR = "▁▂▃▄▅▆▇█"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+|~])")


def escape(value: str) -> str:
    """A file name or message as Markdown text: nothing in it is read as markup."""
    return _MARKDOWN.sub(r"\\\1", value).replace("\n", " ")


def histogram_line(counts: Sequence[int]) -> str:
    """Counts as a line of bars, the highest count full; blank bars for counts of 0."""
    highest = max(counts, default=0)
    return "".join(
        " " if count == 0 else _BAR[round((len(_BAR) - 1) * count / highest)] for count in counts
    )


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
    """The summary of a project's quality as a Markdown page."""
    mean = "–" if mean_overall_quality is None else f"{mean_overall_quality:.3f}"
    lines = [
        f"# Quality of {escape(project)}",
        "",
        f"{images} images, {completed} measured, {failed} failed; mean overall quality {mean}.",
        "",
        "| issue | images |",
        "|---|---:|",
        *(f"| {escape(name)} | {count} |" for name, count in issues.items()),
        "",
        "| measure | 0 to 1, in tenths | counts |",
        "|---|---|---|",
        *(
            f"| {escape(name)} | `{histogram_line(counts)}` | {' '.join(map(str, counts))} |"
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
    lines += ["", f"Snapshot: `{snapshot}`", ""]
    return "\n".join(lines)


def duplicate_group_rows(groups: Mapping[int, Sequence[str]]) -> list[dict[str, Any]]:
    """One row per duplicate group: its number, how many images, which."""
    return [
        {"group": number, "images": len(paths), "paths": ", ".join(paths)}
        for number, paths in groups.items()
    ]


def artifact_key(kind: str, name: str, fallback: str) -> str:
    """A key that Prefect accepts: lower-case letters, digits and dashes.

    Args:
        kind: what the artifact shows.
        name: the subject's name.
        fallback: an id, added where the name alone would not tell subjects apart.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if slug != name:
        slug = f"{slug}-{fallback[:8]}".strip("-")
    return f"{kind}-{slug}"
