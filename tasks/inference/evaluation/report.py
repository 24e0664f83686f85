"""What is told of an evaluation, and of two side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.reports.charts import share_bar
from tasks.reports.report import Report, Table, counted, figure

Values = Mapping[str, Any]
ALL_CLASSES = "all classes"
"""Under this name curves and tables have all classes together."""


def best_in_words(figures: Values) -> str:
    """At which threshold the run counts best, in one sentence."""
    best = figures["classes"][0]["best_counts"]
    return (
        f"counts best at the threshold {best['threshold']:g}: {best['counted']} for "
        f"{counted(best['labelled'], 'label')}, mean absolute error "
        f"{_with_interval(best['mean_absolute'])} an image"
    )


def evaluation_report(found: Values, snapshot: str | None = None) -> Report:
    """How good a run is; `found` is an evaluation with its first `mistakes`, as plain values."""
    figures = found["figures"]
    whole = figures["classes"][0]
    names = [*figures["class_names"], "background"]
    return Report(
        title=f"{found['collection']}, {found['model']} at threshold {found['threshold']:g}, "
        "against its labels",
        sentences=[
            f"{counted(figures['images'], 'image')} with {counted(figures['labels'], 'label')}; "
            f"{figures['backgrounds']} of them without an object.",
            _score_in_words("At the threshold of the run", whole["at_threshold"]),
            *(
                [_score_in_words("F1 is best", whole["best_f1"])]
                if whole["best_f1"] is not None
                else []
            ),
            f"It {_counts_in_words(whole['counts'])}",
            f"It {best_in_words(figures)}.",
            *_held_out(whole["held_out"]),
            *_standard_in_words(figures),
        ],
        notes=_notes(figures, found["unlabelled"]),
        tables=[
            Table(
                "By class, at the threshold of the run and where F1 is best",
                (
                    *("class", "labels", "precision", "recall", "F1"),
                    *("best at", "F1 there", "counts best at"),
                ),
                [_class_row(one) for one in figures["classes"]],
                brief=None,
            ),
            *(
                Table(
                    f"Average precision of {one['overlap']}",
                    ("class", "AP", "AP50", "AP75", "AR"),
                    [
                        (row["class_name"], *(figure(row[key], ".3f") for key in _STANDARD))
                        for row in one["classes"]
                    ],
                )
                for one in figures["standard"]
            ),
            Table(
                "Labels (rows) and what the run took them for",
                ("label", *names),
                [
                    (name, *map(str, row))
                    for name, row in zip(names, figures["matrix"], strict=True)
                ],
                brief=None,
            ),
            Table(
                "Labels to look at again",
                ("image", "what", "label", "found", "file", "line", "score"),
                [_mistake_row(one) for one in found["mistakes"]],
                more=found["mistake_count"] - len(found["mistakes"]),
            ),
        ],
        places=[
            ("evaluation", str(found["id"])),
            *([("snapshot", snapshot)] if snapshot is not None else []),
        ],
    )


_STANDARD = ("ap", "ap50", "ap75", "ar")


def _with_interval(value: Values) -> str:
    return f"{value['value']:.2f} ({value['low']:.2f} to {value['high']:.2f})"


def _score_in_words(when: str, score: Values) -> str:
    values = ", ".join(
        f"{name} {figure(score[key], '.3f')}"
        for name, key in (("precision", "precision"), ("recall", "recall"), ("F1", "f1"))
    )
    return (
        f"{when}, {score['threshold']:g}: {values}; {score['right']} right, {score['wrong']} "
        f"wrong, {score['missed']} missed."
    )


def _counts_in_words(counts: Values) -> str:
    return (
        f"counts {counts['counted']} for {counted(counts['labelled'], 'label')}: bias "
        f"{_with_interval(counts['bias'])}, mean absolute error "
        f"{_with_interval(counts['mean_absolute'])}, root mean square error "
        f"{_with_interval(counts['root_mean_square'])} an image (95 % of resampled images)."
    )


def _held_out(halves: Values | None) -> list[str]:
    if halves is None:
        return []
    first, second = halves["thresholds"]
    return [
        f"Chosen on one half of the images ({first:g} and {second:g}) and judged on the other: "
        f"bias {halves['bias']:.2f}, mean absolute error {halves['mean_absolute']:.2f}."
    ]


def _standard_in_words(figures: Values) -> list[str]:
    if not figures["standard"]:
        return [
            f"Detections are kept down to {figures['floor']:g}; average precision needs 0.001: "
            "--average-precision has the model look once more."
        ]
    return [
        f"{one['overlap'].capitalize()}: AP {figure(one['ap'], '.3f')}, AP50 "
        f"{figure(one['ap50'], '.3f')}, AP75 {figure(one['ap75'], '.3f')} (100 detections of a "
        f"class an image, as COCO counts); AR "
        + ", ".join(f"{figure(value, '.3f')} at {most}" for most, value in one["ar"].items())
        + "."
        for one in figures["standard"]
    ]


def _notes(figures: Values, unlabelled: str) -> list[str]:
    notes = []
    for whose, key, of, option in (
        ("model", "model_classes_without_partner", "detections", "MODEL=LABEL"),
        ("labels", "label_classes_without_partner", "labels", "MODEL=LABEL"),
    ):
        notes += [
            f"The class {name} of the {whose} has no partner: {count} {of} are left out; name one "
            f"with --class {option}."
            for name, count in figures[key].items()
        ]
    if figures["unlabelled"] and unlabelled == "left out":
        notes.append(
            f"{counted(figures['unlabelled'], 'image')} without a label file left out; "
            "--unlabelled background takes them as images without objects."
        )
    if figures["unusable"]:
        notes.append(
            f"{counted(figures['unusable'], 'image')} left out: the label file cannot be used."
        )
    if figures["crowds"]:
        notes.append(
            f"{counted(figures['crowds'], 'crowd region')}: what lies in one is neither right nor "
            "wrong, and is not counted."
        )
    if figures["several_places"]:
        notes.append(
            f"{counted(figures['several_places'], 'image')} labelled at several places: the "
            "labels of the oldest project count."
        )
    if figures["limit_reached"]:
        notes.append(
            f"{counted(figures['limit_reached'], 'image')} reached the limit of "
            f"{figures['limit']} objects, so that there may be more."
        )
    if figures["task"] == "pose":
        notes.append(
            "Of poses only the boxes are kept: all figures are of boxes, and there is no keypoint "
            "similarity (OKS)."
        )
    return notes


def _class_row(one: Values) -> tuple[str, ...]:
    at, best = one["at_threshold"], one["best_f1"]
    return (
        one["class"],
        str(one["labels"]),
        *(figure(at[key], ".3f") for key in ("precision", "recall", "f1")),
        figure(None if best is None else best["threshold"], "g"),
        figure(None if best is None else best["f1"], ".3f"),
        figure(one["best_counts"]["threshold"], "g"),
    )


def _mistake_row(one: Values) -> tuple[str, ...]:
    label, detection = one["label"], one["detection"]
    return (
        one["image"],
        one["kind"],
        "–" if label is None else label["class"],
        "–" if detection is None else f"{detection['class']} {detection['confidence']:.2f}",
        one["label_file"] or "–",
        figure(one["line"]),
        f"{one['score']:.3f}",
    )


def comparison_report(compared: Values) -> Report:
    """Two evaluations on the images that both have; differences are second minus first."""
    first, second = compared["first"], compared["second"]
    return Report(
        title=f"{_in_words(first)} and {_in_words(second)}",
        sentences=[
            f"{counted(compared['images'], 'image')} in both; each run at its own threshold. "
            "An interval without 0 says that the difference is hardly by chance.",
        ],
        tables=[
            Table(
                "Second minus first, with 95 % of resampled images",
                ("figure", "first", "second", "difference", "from", "to"),
                [
                    (
                        row["figure"],
                        figure(row["first"], ".3f"),
                        figure(row["second"], ".3f"),
                        figure(row["difference"]["value"], "+.3f"),
                        figure(row["difference"]["low"], "+.3f"),
                        figure(row["difference"]["high"], "+.3f"),
                    )
                    for row in compared["rows"]
                ],
                brief=None,
            )
        ],
    )


def _in_words(one: Values) -> str:
    return f"{one['collection']}, {one['model']} at {one['threshold']:g}"


def threshold_lines(curve: Values, steps: Sequence[float]) -> list[tuple[str, ...]]:
    """Rows of a curve at some thresholds, with a bar of F1."""
    rows = []
    for wanted in steps:
        places = [place for place, at in enumerate(curve["threshold"]) if at >= wanted - 1e-9]
        if places:
            place = places[0]
            values = [f"{curve[name][place]:.3f}" for name in ("precision", "recall", "f1")]
            rows.append(
                (
                    f"{curve['threshold'][place]:g}",
                    *values,
                    share_bar(curve["f1"][place]),
                    f"{curve['counts']['bias'][place]:+.2f}",
                    f"{curve['counts']['mean_absolute'][place]:.2f}",
                )
            )
    return rows
