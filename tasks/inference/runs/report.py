"""What is told of a run, and of two runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.inference.detections import DEFAULT_MAX_DETECTIONS
from tasks.inference.runs.live_dead import live_dead_classes
from tasks.inference.runs.matching import MATCH_IOU
from tasks.reports.report import Picture, Report, Table, count_table, counted, figure


def run_report(
    run: Mapping[str, Any],
    counts: tuple[int, int] | None = None,
    pictures: Sequence[Picture] = (),
) -> Report:
    """What a run has counted, what failed, and where it lies.

    `run` has its fields, with `totals`, `failures` and the folder `polygons`; `counts` are images
    that went through the model now, and that needed no inference.
    """
    totals, failures = run["totals"], run["failures"]
    status = "interrupted" if run["is_interrupted"] else str(run["status"])
    how = f", by {run['runtime']}" if run["runtime"] else ""
    return Report(
        title=run_in_words(run),
        sentences=[
            *(
                []
                if counts is None
                else [
                    f"{counts[0]} images went through the model, {counts[1]} were answered from "
                    "kept detections."
                ]
            ),
            f"{totals['processed_count']} of {totals['total']} images done, "
            f"{totals['failed_count']} failed; {sum(totals['class_counts'].values())} objects: "
            f"{found_in_words(run, totals)}.",
            *_limits_in_words(run),
            f"Image size {run['image_size']}{how}; {status}.",
            *(
                [
                    f"{counted(run['copies'], 'more file')} of the collection "
                    f"{'has' if run['copies'] == 1 else 'have'} the content of one that was "
                    "counted: a copy counts once."
                ]
                if run["copies"]
                else []
            ),
            *(
                [
                    f"{totals['later']} more images are in the collection by now; start the run "
                    "again to count them."
                ]
                if totals["later"]
                else []
            ),
            *([run["error_msg"]] if status == "failed" and run["error_msg"] else []),
        ],
        tables=[
            count_table("Objects by class", totals["class_counts"], "class", "objects"),
            Table(
                "Images that reached the limit of objects",
                ("image",),
                [(name,) for name in run["limited"]],
                more=run["limited_count"] - len(run["limited"]),
            ),
            Table(
                "Images that failed",
                ("image", "reason"),
                failures,
                more=totals["failed_count"] - len(failures),
            ),
        ],
        pictures=pictures,
        places=[("run", str(run["id"])), ("polygons", run["polygons"])],
    )


def run_in_words(run: Mapping[str, Any]) -> str:
    """A run as people know it."""
    return f"{run['collection']}, {model_in_words(run)}"


def model_in_words(run: Mapping[str, Any]) -> str:
    """The model of a run with all that tells its runs over one collection apart."""
    most = run["max_detections"]
    limit = "" if most == DEFAULT_MAX_DETECTIONS else f", at most {most} objects an image"
    return f"{run['model']} at {run['image_size']} pixels, threshold {run['threshold']:g}{limit}"


def found_in_words(run: Mapping[str, Any], totals: Mapping[str, Any], most: int = 5) -> str:
    """What a run has counted: live and dead, or the model's own classes where it has neither."""
    mapping = run["class_mapping"]
    classes = live_dead_classes(run["class_names"], mapping)
    if classes.live or classes.dead:
        text = f"{totals['live_count']} live, {totals['dead_count']} dead"
        if mapping is None:
            return text
        told = ", ".join(f"{name}={mapping[name]}" for name in mapping)
        return f"{text} (class mapping: {told or 'none'})"
    counts = sorted(totals["class_counts"].items(), key=lambda one: (-one[1], one[0]))
    named = ", ".join(f"{count} {name}" for name, count in counts[:most]) or "none"
    return named if len(counts) <= most else f"{named} and {len(counts) - most} more classes"


def _limits_in_words(run: Mapping[str, Any]) -> list[str]:
    limited = run["limited_count"]
    if not limited:
        return []
    return [
        f"{counted(limited, 'image')} reached the limit of {run['max_detections']} objects, so "
        "that there may be more: run it again with a greater --max-detections."
    ]


def comparison_report(
    found: Mapping[str, Any],
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    pictures: Sequence[Picture] = (),
) -> Report:
    """How two runs go together: by class, and the images on which they disagree the most.

    `pictures` are the worst images, as each of the runs sees them.
    """
    total = found["total"]
    return Report(
        title=_two_in_words(first, second),
        sentences=[
            f"first: {run_in_words(first)}",
            f"second: {run_in_words(second)}",
            f"{found['images']} images compared, {found['equal_images']} of them without a "
            f"disagreement; {found['only_first']} only in the first run, "
            f"{found['only_second']} only in the second.",
            f"{total['first']} and {total['second']} objects, {total['matched']} of them the same "
            f"(class, and boxes from IoU {MATCH_IOU:g}): agreement {total['agreement']:.3f}.",
        ],
        tables=[
            Table(
                "Agreement by class",
                ("class", *_AGREEMENT),
                [(one["class_name"], *_agreement(one)) for one in [*found["classes"], total]],
                brief=None,
            ),
            Table(
                "Worst disagreements",
                ("image", *_AGREEMENT),
                [(one["image"], *_agreement(one)) for one in found["worst"]],
            ),
        ],
        pictures=pictures,
        places=[("snapshot", found["snapshot"])],
    )


def _two_in_words(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    return f"{run_in_words(first)} and {run_in_words(second)}"


_AGREEMENT = ("first", "second", "matched", "agreement", "mean IoU")


def _agreement(row: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (str(row[name]) for name in ("first", "second", "matched"))
    return (*counts, figure(row["agreement"], ".3f"), figure(row["mean_iou"], ".3f"))
