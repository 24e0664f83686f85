"""All YOLO label files of a release, read, judged and summed in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from storage.errors import JobCancelledError
from tasks.labels.annotations import GeometryKind
from tasks.labels.formats.yolo.geometry import YoloDecision, YoloGeometry, decide_yolo_geometry
from tasks.labels.formats.yolo.irregular import read_irregular
from tasks.labels.formats.yolo.numbers import (
    Flags,
    LabelRows,
    merge_rows,
    parse_label_files,
)
from tasks.labels.formats.yolo.rows import UNUSED, geometries_of_counts, judge_rows
from tasks.labels.limits import DatasetLimits
from tasks.labels.problems import ProblemCode
from tasks.releases.archive.directory import Integers, ZipDirectory
from tasks.releases.archive.members import MemberBatch, read_batches
from tasks.releases.archive.source import ArchiveFile
from tasks.releases.labels.row_counts import RowCounts
from tasks.releases.labels.trainer_view import keep_as_trainer, read_like_trainer
from tasks.releases.problems import ReleaseProblemCode
from tasks.reports.problem_log import Problem, ProblemLog

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LabelTask:
    """What is read, the members `labels` in ascending order, and how.

    `splits` and `uses` have the split of each, and how many images use it when Ultralytics trains;
    `more_splits` has a column for each split, with those that an image is in as well.
    `names` are by id; `keypoint_shape` and `task` are data.yaml's `kpt_shape` and `task`.
    """

    labels: Integers
    splits: Integers
    uses: Integers
    more_splits: Flags
    names: Mapping[int, str]
    keypoint_shape: tuple[int, int] | None = None
    task: str | None = None


@dataclass(frozen=True)
class LabelSums:
    """What the label files of a release hold; arrays have one element for each of them.

    `row_count` rows have values, `over_one` of them above 1; `decision_problems` are about how
    `geometry` was decided.
    `instances` are usable rows, `problem_rows` the others, `repeated` usable ones that repeat
    another, `kept` those that the trainer keeps. Of the files, `has_rows` are not empty, `is_read`
    could be read, and for `is_kept` the trainer does not drop the image.
    """

    labels: Integers
    geometry: YoloGeometry
    row_count: int
    over_one: int
    decision_problems: tuple[Problem, ...]
    counts: RowCounts
    instances: NDArray[np.int32]
    problem_rows: NDArray[np.int32]
    repeated: NDArray[np.int32]
    kept: NDArray[np.int32]
    has_rows: Flags
    is_read: Flags
    is_kept: Flags


def scan_labels(
    descriptor: ArchiveFile,
    directory: ZipDirectory,
    task: LabelTask,
    limits: DatasetLimits,
    log: ProblemLog,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> LabelSums:
    """Read all label files.

    What the rows hold is decided for the dataset. It is known after the first batch; in the rare
    case that a later one contradicts, everything is read once more.

    Raises:
        JobCancelledError: `should_stop` said so.
    """
    lengths: set[int] = set()
    while True:
        attempt = _Pass(directory, task, limits, lengths)
        if attempt.run(descriptor, progress, should_stop):
            log.extend(attempt.log)
            return attempt.result()


class _Pass:
    """One pass over all label files under one decision about their geometry."""

    def __init__(
        self, directory: ZipDirectory, task: LabelTask, limits: DatasetLimits, lengths: set[int]
    ) -> None:
        self.directory, self.task, self.limits = directory, task, limits
        self.log = ProblemLog(limits.listed_per_code)
        self.counts = RowCounts(4 * limits.classes)
        # Of all passes; rows are counted in this one.
        self.lengths = lengths
        self.rows_by_length: Counter[int] = Counter()
        self.geometry: YoloGeometry | None = None
        self.named = frozenset(task.names) or None
        self.ids_by_name = {name: class_id for class_id, name in task.names.items()}
        self.irregular_bytes = 0
        size = len(task.labels)
        self.instances, self.problem_rows, self.repeated, self.kept = (
            np.zeros(size, np.int32) for _ in range(4)
        )
        self.has_rows, self.is_read, self.is_kept = (np.zeros(size, bool) for _ in range(3))

    def run(
        self,
        descriptor: ArchiveFile,
        progress: Progress | None,
        should_stop: Callable[[], bool] | None,
    ) -> bool:
        """Read everything; False where a batch contradicts what was decided before it."""
        done, total = 0, len(self.task.labels)
        batches = read_batches(
            descriptor,
            self.directory,
            self.task.labels,
            self.limits.label_bytes,
        )
        for batch in batches:
            if should_stop is not None and should_stop():
                raise JobCancelledError("The scan was cancelled.")
            if not self._add(batch):
                return False
            done += len(batch.members)
            if progress is not None:
                progress(done, total)
        return True

    def _add(self, batch: MemberBatch) -> bool:
        """Read one batch; False where its rows contradict the decision."""
        numbers = np.searchsorted(self.task.labels, batch.members)
        for position, error in batch.errors.items():
            is_large = error.code == ReleaseProblemCode.MEMBER_TOO_LARGE
            reason = f"{error.reason} (VISIONFLOWS_MAX_LABEL_BYTES)" if is_large else error.reason
            self.log.add(error.code, reason, place=self._shown(batch.members, position))
        rows, irregular = parse_label_files(batch.contents)
        written: list[tuple[int, int, list[float]]] = []
        trained: list[tuple[int, int, list[float]]] = []
        is_read = np.ones(len(numbers), bool)
        is_read[list(batch.errors)] = False
        is_kept = is_read.copy()
        bad_rows = np.zeros(len(numbers), np.int64)
        for position in irregular:
            content = batch.contents[position]
            self.irregular_bytes += len(content)
            if self.irregular_bytes > self.limits.irregular_label_bytes:
                detail = (
                    f"more than {self.limits.irregular_label_bytes} bytes of unusual label files"
                )
                shown = self._shown(batch.members, position)
                self.log.add(ReleaseProblemCode.LABELS_NOT_READ, detail, place=shown)
                is_read[position] = is_kept[position] = False
                continue
            bad_rows[position] = self._add_irregular(
                position, content, batch.members, written, trained, is_kept
            )
        rows_as_written = merge_rows(rows, written)
        if not self._decide(rows_as_written):
            return False
        self.is_read[numbers] = is_read
        rows_as_trained = merge_rows(rows, trained) if irregular else rows_as_written
        has_repeats = self._sum_trained(rows_as_trained, numbers, is_kept)
        self._sum_written(
            rows_as_written, numbers, batch.members, bad_rows, has_repeats or bool(irregular)
        )
        return True

    def _shown(self, members: Integers, position: int) -> str:
        """Return the name of a member for people."""
        return self.directory.shown_name(int(members[position]))

    def _add_irregular(
        self,
        position: int,
        content: bytes,
        members: Integers,
        written: list[tuple[int, int, list[float]]],
        trained: list[tuple[int, int, list[float]]],
        is_kept: Flags,
    ) -> int:
        """Read one file line by line; return how many of its rows are no numbers."""
        found = read_irregular(content, self.ids_by_name)
        written += [(position, line, values) for line, values in found.rows]
        as_trained = read_like_trainer(content)
        is_kept[position] = as_trained is not None
        trained += [(position, 0, values) for values in as_trained or ()]
        shown = self._shown(members, position)
        for code, line, detail in found.problems:
            self.log.add(code, detail, place=shown, line=line)
        return found.bad_rows

    def _decide(self, rows: LabelRows) -> bool:
        """Take the lengths of rows into account; False where they contradict the decision."""
        lengths, amounts = np.unique(rows.counts, return_counts=True)
        self.rows_by_length.update(dict(zip(lengths.tolist(), amounts.tolist(), strict=True)))
        self.lengths.update(lengths.tolist())
        before = self.geometry
        self.geometry = geometry = self._decision(dict.fromkeys(self.lengths, 1)).geometry
        return before is None or _reads_alike(before, geometry)

    def _decision(self, lengths: Mapping[int, int]) -> YoloDecision:
        """Decide what the rows hold, from the number of rows of each length."""
        return decide_yolo_geometry(
            lengths, keypoint_shape=self.task.keypoint_shape, task=self.task.task
        )

    def _sum_written(
        self,
        rows: LabelRows,
        numbers: Integers,
        members: Integers,
        bad_rows: Integers,
        may_repeat: bool,
    ) -> None:
        """Judge the rows of a batch and add them up."""
        if self.geometry is None:
            return
        judged = judge_rows(rows, self.geometry, self.named, may_repeat=may_repeat)
        for code, which, detail in judged.problems:
            for row in which[: self.log.room(code)].tolist():
                self.log.add(
                    code, detail(row), place=self._shown(members, rows.files[row]),
                    line=int(rows.lines[row]),
                )  # fmt: skip
                which = which[1:]
            self.log.count(code, len(which))
        usable = np.bincount(rows.files[judged.is_usable], minlength=len(numbers))
        every = np.bincount(rows.files, minlength=len(numbers))
        self.instances[numbers] = usable
        self.problem_rows[numbers] = every - usable + bad_rows
        self.repeated[numbers] = np.bincount(rows.files[judged.repeats], minlength=len(numbers))
        self.has_rows[numbers] = every + bad_rows > 0
        self.counts.add_written(judged, rows.files, self.task.splits[numbers])
        for splits, is_in in self._more_splits(numbers):
            geometries = np.where(is_in[rows.files], judged.geometries, UNUSED)
            again = replace(judged, geometries=geometries)
            self.counts.add_written(again, rows.files, splits)

    def _more_splits(self, numbers: Integers) -> Iterator[tuple[Integers, Flags]]:
        """Each split that files are in as well: itself for every file, and which files."""
        for split, is_in in enumerate(self.task.more_splits[numbers].T):
            if is_in.any():
                yield np.full(len(numbers), split), is_in

    def _sum_trained(self, rows: LabelRows, numbers: Integers, is_kept: Flags) -> bool:
        """Add up what the trainer keeps of a batch; return whether rows repeat others."""
        if self.geometry is None:
            return True
        shape = self.geometry.keypoint_shape
        trainer = keep_as_trainer(
            rows,
            len(numbers),
            class_count=max(self.named) + 1 if self.named else None,
            keypoint_values=self.geometry.keypoint_values,
            dimensions=shape[1] if shape else 3,
        )
        uses = self.task.uses[numbers]
        self.is_kept[numbers] = trainer.is_file_kept & is_kept
        kept = np.flatnonzero(trainer.is_row_kept & is_kept[rows.files])
        self.kept[numbers] = np.bincount(rows.files[kept], minlength=len(numbers))
        geometries = geometries_of_counts(rows.counts, self.geometry)[kept]
        kept_classes = rows.values[rows.firsts[kept]].astype(np.int64)
        kept_classes, files = np.maximum(kept_classes, 0), rows.files[kept]
        self.counts.add_trainable(kept_classes, geometries, files, self.task.splits[numbers], uses)
        for splits, is_in in self._more_splits(numbers):
            which = is_in[files]
            self.counts.add_trainable(
                kept_classes[which], geometries[which], files[which], splits, uses
            )
        return trainer.has_repeats

    def result(self) -> LabelSums:
        """Return the sums."""
        decision = self._decision(self.rows_by_length)
        return LabelSums(
            self.task.labels, decision.geometry, self.rows_by_length.total(),
            self.log.totals.get(ProblemCode.COORD_OVER_ONE, 0), decision.problems,
            self.counts,
            self.instances, self.problem_rows, self.repeated,
            self.kept, self.has_rows, self.is_read, self.is_kept,
        )  # fmt: skip


def _reads_alike(first: YoloGeometry, second: YoloGeometry) -> bool:
    """Whether two decisions read every row in the same way: boxes and outlines go by length."""
    by_length = (GeometryKind.BOX, GeometryKind.POLYGON)
    return first == second or (first.kind in by_length and second.kind in by_length)
