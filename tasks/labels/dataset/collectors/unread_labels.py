"""Files that look like labels and that no reader takes: named, with the reason, and counted."""

from __future__ import annotations

import re
from collections import Counter

from tasks.labels.dataset.addresses import address_of
from tasks.labels.dataset.layouts import DatasetLayout
from tasks.labels.formats.label_file import LabelFile
from tasks.labels.formats.registry import names_of_formats
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem

# With such keys, elements and columns documents of all kinds of tools say where something is.
_LOOKS_LIKE_LABELS = re.compile(
    rb"""
    "(bbox|bboxes|boundingbox|bounding_box|polygons?|polyline|shapes|regions|objects|annotations?
      |segmentation|keypoints|coordinates|shape_attributes)"\s*:\s*[\[{]
    | <(bndbox|box|polygon|polyline|annotations?|object)[\s>/]
    | (^|,)[\s"]*(xmin|x_min|xtl|bbox|bbox_x|x1)[\s"]*,
    """,
    re.IGNORECASE | re.VERBOSE,
)
_LOOKED_AT = 1 << 16
_DAMAGES = (ProblemCode.XML_UNREADABLE, ProblemCode.JSON_UNREADABLE)


class UnreadLabels:
    """Collects the files of a dataset that belong to no image and are of no known format."""

    def __init__(self, layout: DatasetLayout) -> None:
        # Metadata of all kinds lie beside pictures; labels lie where other labels do.
        self._folders = {label.rpartition("/")[0] for label in layout.labels if label}
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def add(self, file: LabelFile) -> None:
        """Take a file of no known format, if its place or its beginning look like labels."""
        folder = file.path.parent.as_posix()
        folder = "" if folder == "." else folder
        is_expected = folder in self._folders or address_of(file.path.parent.parts).is_label_folder
        if looks_like_labels(file, is_expected=is_expected and file.path.suffix.lower() != ".csv"):
            self._counts[folder, file.path.suffix.lower(), _why_unread(file)] += 1

    def problems(self) -> tuple[Problem, ...]:
        """One entry for each folder, suffix and reason."""
        log = label_log()
        for (folder, suffix, why), count in sorted(self._counts.items()):
            files = "file was" if count == 1 else "files were"
            reason = f"{count} {suffix} {files} not read: {why}"
            log.add(ProblemCode.LABEL_FILE_UNREAD, reason, place=folder or ".", count=count)
        return log.entries()


def looks_like_labels(file: LabelFile, *, is_expected: bool) -> bool:
    """Whether a file looks like labels: it lies where they are expected, or begins like them."""
    if file.content.strip() in (b"", b"{}", b"[]"):
        return False
    begins = file.content[:_LOOKED_AT].replace(b"\0", b"")
    return is_expected or _LOOKS_LIKE_LABELS.search(begins) is not None


def _why_unread(file: LabelFile) -> str:
    """Damaged, or of none of the formats with its suffix."""
    suffix, log = file.path.suffix.lower(), label_log()
    if suffix == ".xml":
        file.xml(log)
    elif suffix != ".csv":
        file.json(log)
    damage = {problem.reason for problem in log.entries() if problem.code in _DAMAGES}
    return next(iter(damage), f"not {names_of_formats(suffix)}")
