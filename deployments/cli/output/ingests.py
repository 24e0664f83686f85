"""What an ingest did, in the terminal."""

from __future__ import annotations

from typing import Any

from deployments.cli.output.terminal import print_plain, print_problem

_MOST_PROBLEMS = 10


def print_ingest(report: dict[str, Any], *, is_preview: bool) -> None:
    """What one project gained and lost, or what it would; failed, or at work already."""
    name = report["project"]
    if "error" in report:
        print_problem(f"{name}: {report['error']}")
        return
    if is_preview:
        what = "would be made" if report["is_new"] else "would change"
        print_plain(
            f"{name} {what} in {report['path']}: {report['new_or_changed_images']} new or changed "
            f"images, {report['new_or_changed_label_files']} label files, "
            f"{report['unchanged_images']} images unchanged, {report['gone_images']} gone, "
            f"images to generate from: {report['images_to_generate_from']}."
        )
        if report["reads_labels_again"]:
            print_plain("Label files or images have changed: all labels would be read again.")
        if report["generated_images_to_remove"]:
            print_plain(f"{report['generated_images_to_remove']} generated images would go.")
        _print_some([f"Left out: {problem}" for problem in report["problems"]])
        return
    if report["already_running"]:
        print_plain(
            f"{name} is being ingested already (job {report['job_id']}); "
            "`visionflows status --watch` follows it."
        )
        return
    print_plain(
        f"{name}: {report['image_count']} images in {report['path']} ({report['added']} new, "
        f"{report['unchanged']} known, {report['changed']} changed, {report['moved']} moved, "
        f"{report['returned']} returned, {report['missing']} gone missing)."
    )
    if report["labeled_count"]:
        classes = ", ".join(report["class_names"].values()) or "no class names"
        print_plain(
            f"{report['labeled_count']} images have labels ({report['relabeled']} new or changed); "
            f"classes: {classes}."
        )
    if report["generated"] or report["removed"]:
        print_plain(f"{report['generated']} images generated, {report['removed']} removed.")
    _print_some([f"Left out: {problem}" for problem in report["problems"]])
    _print_some(
        [
            f"Label: {problem['file']}"
            + (f", line {problem['line']}" if problem["line"] else "")
            + f": {problem['reason']} ({problem['code']})"
            for problem in report["label_problems"]
        ],
        report["label_problem_count"],
    )
    if report["snapshot"]:
        print_plain(f"Image index: {report['snapshot']}")
    if report["next_step"]:
        print_plain(report["next_step"])


def _print_some(problems: list[str], count: int | None = None) -> None:
    for problem in problems[:_MOST_PROBLEMS]:
        print_problem(problem)
    more = (len(problems) if count is None else count) - _MOST_PROBLEMS
    if more > 0 and len(problems) > _MOST_PROBLEMS:
        print_problem(f"... and {more} more.")
