"""Whether a manifest lists what its folder holds."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

from tasks.reports.problem_log import ProblemLog
from tasks.sessions.manifest.files import ListedImages
from tasks.sessions.problems import SessionProblemCode, some_names


def compare_with_folder(
    images: ListedImages, names: Collection[str], log: ProblemLog
) -> dict[str, int | None]:
    """Compare the images that a manifest lists with those of its folder; the counts of both.

    Unlisted images are not counted (None) where the list was not read to its end. Names that differ
    only in the way accents are composed are the same (macOS decomposes them).
    """
    code = SessionProblemCode
    listed, present = set(images.names), set(names)
    if len(listed) < len(images.names):
        twice = len(images.names) - len(listed)
        log.add(code.LISTED_TWICE, "entries of images that are listed already", count=twice)
    absent, unlisted = listed - present, present - listed
    if absent and unlisted:
        absent_composed = {_composed(name): name for name in absent}
        unlisted_composed = {_composed(name): name for name in unlisted}
        for name in absent_composed.keys() & unlisted_composed.keys():
            absent.discard(absent_composed[name])
            unlisted.discard(unlisted_composed[name])
    if absent:
        reason = f"listed, but not in the folder: {some_names(sorted(absent))}"
        log.add(code.LISTED_BUT_ABSENT, reason, count=len(absent))
    if unlisted and images.is_whole:
        reason = f"in the folder, but not listed: {some_names(sorted(unlisted))}"
        log.add(code.PRESENT_BUT_UNLISTED, reason, count=len(unlisted))
    return {
        "images_listed": len(listed),
        "images_listed_absent": len(absent),
        "images_unlisted": len(unlisted) if images.is_whole else None,
    }


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
