"""Releases, for people and for programs."""

from __future__ import annotations

from deployments.cli.output.tables import print_list, print_report
from storage.database.connection import Database
from storage.releases import ReleaseRecord, describe_release
from storage.settings import get_settings
from tasks.releases.report import release_report
from tasks.reports.report import figure


def print_releases(releases: list[ReleaseRecord]) -> None:
    """Releases, one a line."""
    print_list(
        ("release", "train", "val", "test", "classes", "statistics", "archive"),
        [
            (
                release.name,
                figure(release.train_image_count),
                figure(release.val_image_count),
                figure(release.test_image_count),
                figure(release.class_count),
                release.stats_status.value,
                str(release.model_path),
            )
            for release in releases
        ],
    )


def print_release(
    database: Database, release: ReleaseRecord, left_out: list[dict[str, str]] | None = None
) -> None:
    """The statistics of a release, and what was left out when it was made."""
    flow = "build-release-stats" if left_out is None else "create-release"
    page = get_settings().report_page(flow, release.id)
    print_report(
        release_report(describe_release(database, release), left_out or ()),
        *([("page", str(page))] if page.exists() else []),
        ("table", f"visionflows releases show {release.id} --json"),
    )
