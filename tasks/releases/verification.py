"""Whether the statistics that a release carries are those of its members."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.releases.statistics import ReleaseStatistics


@dataclass(frozen=True, slots=True)
class StatisticsDifference:
    """One figure that differs.

    Attributes:
        what: for example `train_image_count` or `instances of class 'cat'`.
        metadata: what the release says; None where it does not mention it.
        scan: what its members say; None where they have no such thing.
    """

    what: str
    metadata: int | str | None
    scan: int | str | None


def compare_statistics(
    metadata: ReleaseStatistics, scan: ReleaseStatistics
) -> list[StatisticsDifference]:
    """Compare what a release says about itself with what was counted, in a fixed order."""
    raise NotImplementedError
