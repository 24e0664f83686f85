"""What is told of a release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.reports.charts import share_bar
from tasks.reports.report import Report, Table, counted, figure

NOT_LOOKED_FOR = (
    "Problems were not looked for: the members were not read (`--force --verify` reads them)."
)

_MOST_CLASSES = 40


@dataclass(frozen=True, slots=True)
class ClassRow:
    """The objects of one class with one geometry, over all splits.

    `geometry` is as in docs/releases.md; "" for a class without objects. `instances` are as
    written, `images` have at least one, `trainable_instances` are what the trainer keeps; the last
    two are None where nobody has counted them. `by_split` has the instances of each split.
    """

    class_id: int
    name: str
    geometry: str
    instances: int
    images: int | None
    trainable_instances: int | None
    by_split: Mapping[str, int]


def split_rows(counts: Mapping[str, int], shapes: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The cells of each split, see `_SPLIT_COLUMNS`; unsplit only where there are images.

    `shapes` is the column `shapes_json`; what metadata tells has no figures of labels.
    """
    total = sum(counts.values())
    is_counted = shapes.get("source") != "metadata"
    labels = {entry["split"]: entry for entry in shapes.get("splits", ())} if is_counted else {}
    rows = []
    for split, images in counts.items():
        if not images and split == "unsplit":
            continue
        share = images / total if total else 0.0
        entry = labels.get(split)
        figures: tuple[int | None, ...] = (None, None, None, None)
        if entry is not None:
            figures = (
                entry["labelled_images"],
                entry["empty_labels"],
                entry["images_without_label"] + entry["unreadable_labels"],
                entry["dropped_images"],
            )
        cells = (split, str(images), f"{share:.1%}", share_bar(share), *map(figure, figures))
        rows.append(cells)
    return rows


# Images with objects; with a label file that says nothing is to be seen; without a label file, or
# with one that cannot be read; and those that a trainer drops because a row is wrong.
_SPLIT_COLUMNS = (*("split", "images", "share", ""), *("labelled", "empty", "no label", "dropped"))


def class_rows(classes: Sequence[str], shapes: Mapping[str, Any]) -> list[ClassRow]:
    """Sum the classes of a release over its splits, from `classes_json` and `shapes_json`.

    There is a row for each class and geometry in the order of the class ids; declared classes
    without objects, and used ones that nobody declared, are among them.
    """
    names = dict(zip(shapes.get("class_ids", range(len(classes))), classes, strict=False))
    is_counted = shapes.get("source") != "metadata"
    sums: dict[tuple[int, str], Counter[str]] = {}
    by_split: dict[tuple[int, str], Counter[str]] = {}
    for entry in shapes.get("classes", ()):
        key = (int(entry["class_id"]), str(entry["geometry"]))
        names.setdefault(key[0], str(entry["class_name"]))
        figures = sums.setdefault(key, Counter())
        for name in ("instances", "images", "trainable_instances"):
            figures[name] += entry[name]
        by_split.setdefault(key, Counter())[str(entry["split"])] += entry["instances"]
    for class_id in set(names) - {class_id for class_id, _ in sums}:
        sums[class_id, ""] = Counter()
    return [
        ClassRow(
            class_id,
            names[class_id],
            geometry,
            figures["instances"],
            figures["images"] if is_counted else None,
            figures["trainable_instances"] if is_counted else None,
            dict(by_split.get((class_id, geometry), {})),
        )
        for (class_id, geometry), figures in sorted(sums.items())
    ]


def has_keypoints(shapes: Mapping[str, Any] | None) -> bool:
    """Whether the labels of a release are keypoints, from `shapes_json`."""
    return any(one["geometry"] == "keypoints" for one in (shapes or {}).get("classes", ()))


def problem_rows(problems: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Each kind of problem with the number of places and one of them, in the order of the codes."""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for problem in problems:
        code = str(problem["code"])
        counts[code] += problem.get("count", 1)
        examples.setdefault(code, describe_problem(problem))
    return [(code, str(count), examples[code]) for code, count in sorted(counts.items())]


def describe_problem(problem: Mapping[str, Any]) -> str:
    """Say where a problem is and what is wrong, in one line."""
    place = "" if problem["member"] is None else str(problem["member"])
    if problem["line"] is not None:
        place += f":{problem['line']}"
    return f"{place}: {problem['detail']}" if place else str(problem["detail"])


def release_report(
    release: Mapping[str, Any], left_out: Sequence[Mapping[str, Any]] = ()
) -> Report:
    """The statistics of a release: split bars, class table, problems.

    `release` has the columns of its row, the long ones too, and its `split_counts`; `left_out` the
    code, count and an example of what of its project was left out when it was made.
    """
    title, places = f"Release {release['name']}", [("archive", str(release["model_path"]))]
    status, error = release["stats_status"], release["stats_error"]
    notes = [] if error is None else [f"The last build failed: {error}"]
    source, shapes = release["stats_source"], release["shapes_json"]
    if source is None or shapes is None:
        nothing = f"{release['name']}: no statistics yet ({status})."
        return Report(title, [nothing], notes=notes, places=places)
    counts, names = release["split_counts"], release["classes_json"]
    problems = release["problems_json"]
    classes = class_rows(names, shapes)
    sentences = [
        f"{release['name']}: {counted(sum(counts.values()), 'image')}, "
        f"{counted(len(names), 'class', 'classes')}, "
        f"{counted(sum(row.instances for row in classes), 'object')}, "
        + ("as its metadata says" if source == "metadata" else "counted")
        + ("." if status == "completed" else f" ({status})."),
    ]
    if not problems:
        sentences.append(NOT_LOOKED_FOR if source == "metadata" else "No problem was found.")
    return Report(
        title,
        sentences,
        [
            Table("Images", _SPLIT_COLUMNS, split_rows(counts, shapes)),
            _class_table(classes, len(names)),
            Table(
                "Problems",
                ("problem", "places", "for example"),
                problem_rows(problems),
                brief=None,
            ),
            Table(
                "Left out of the release",
                ("reason", "places", "for example"),
                [(str(one["code"]), str(one["count"]), str(one["example"])) for one in left_out],
                brief=None,
            ),
        ],
        notes,
        places=places,
    )


def _class_table(rows: Sequence[ClassRow], declared: int) -> Table:
    splits = [
        split
        for split in ("train", "val", "test", "unsplit")
        if any(split in row.by_split for row in rows)
    ]
    return Table(
        f"Classes: {declared}",
        ("id", "class", "geometry", "instances", "images", *splits, "trainable"),
        [
            (
                str(row.class_id),
                row.name,
                row.geometry,
                str(row.instances),
                figure(row.images),
                *(str(row.by_split.get(split, 0)) for split in splits),
                figure(row.trainable_instances),
            )
            for row in rows
        ],
        brief=_MOST_CLASSES,
    )
