"""Whether the statistics that a release carries are those of its members."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from storage.records import ReleaseStatsSource
from tasks.releases.statistics import SPLIT_NAMES, ReleaseStatistics


@dataclass(frozen=True, slots=True)
class StatisticsDifference:
    """One figure that differs between what a release says and what its members say.

    `what` is `train_image_count` or `instances of class 'cat'`, say; None: not mentioned there.
    """

    what: str
    metadata: int | str | None
    scan: int | str | None


def compare_statistics(
    metadata: ReleaseStatistics, scan: ReleaseStatistics
) -> list[StatisticsDifference]:
    """Compare what a release says about itself with what was counted.

    Images per split, the number and the order of the classes, and rows per class name (all splits
    and geometries) are compared; differences of splits come first, then classes by name.
    """
    differences = []
    for split in SPLIT_NAMES:
        what = f"{split}_image_count"
        said, counted = getattr(metadata, what), getattr(scan, what)
        if said != counted:
            differences.append(StatisticsDifference(what, said, counted))
    differences += _compare_classes(metadata.classes_json(), scan.classes_json())
    said_by_name, counted_by_name = _instances_by_name(metadata), _instances_by_name(scan)
    for name in sorted(said_by_name.keys() | counted_by_name.keys()):
        said, counted = said_by_name.get(name), counted_by_name.get(name)
        if (said or 0) != (counted or 0):
            what = f"instances of class {name!r}"
            differences.append(StatisticsDifference(what, said, counted))
    return differences


def _compare_classes(said: list[str], named: list[str]) -> list[StatisticsDifference]:
    """Compare how many classes there are, else how the first ones are called."""
    if len(said) != len(named):
        return [StatisticsDifference("class_count", len(said), len(named))]
    others = [
        number for number, pair in enumerate(zip(said, named, strict=True)) if len({*pair}) > 1
    ]
    return [
        StatisticsDifference(f"class number {number + 1}", repr(said[number]), repr(named[number]))
        for number in others[:1]
    ]


def _instances_by_name(statistics: ReleaseStatistics) -> dict[str, int]:
    """Return how many rows each class name has, as written."""
    instances: Counter[str] = Counter()
    is_scan = statistics.source is ReleaseStatsSource.SCAN
    for shapes in statistics.shapes.classes:
        if is_scan and shapes.geometry == "unknown":
            # Rows that fit no geometry are problems, not objects.
            continue
        instances[shapes.class_name] += shapes.instances
    return dict(instances)
