"""One pass over a release: every fact about its dataset, without unpacking it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tasks.images.decoding import read_shown_size
from tasks.images.file_kinds import DESCRIBING_KINDS, LABEL_KINDS, FileKind
from tasks.labels.dataset.class_names import DatasetNames, read_dataset_names
from tasks.labels.dataset.collectors.class_folders import class_folder_names
from tasks.labels.dataset.collectors.unread_labels import looks_like_labels
from tasks.labels.dataset.files import DatasetFiles, folders_of_interest, unread_among
from tasks.labels.dataset.listed_names import ListedNames, take_names_apart
from tasks.labels.dataset.pairing import NONE, Pairs, find_and_pair
from tasks.labels.dataset.splits import FoundSplits, PlacedImages, SplitList, find_splits
from tasks.labels.formats.label_file import LabelFile
from tasks.labels.formats.registry import LabelFormat, find_format
from tasks.labels.formats.yolo.geometry import YoloGeometry
from tasks.labels.formats.yolo.numbers import Flags
from tasks.labels.geometry import ImageSize, image_size_of
from tasks.labels.limits import DEFAULT_LIMITS, DatasetLimits
from tasks.labels.problems import ProblemCode
from tasks.releases.archive.attacks import refuse_attack
from tasks.releases.archive.directory import Integers, ZipDirectory, read_zip_directory
from tasks.releases.archive.errors import ReleaseError, ReleaseErrorCode
from tasks.releases.archive.member_checks import usable_members
from tasks.releases.archive.members import MemberError, MemberStream, read_member
from tasks.releases.archive.source import ArchiveFile, close_archive, open_archive
from tasks.releases.dataset.class_folders import class_folders_of
from tasks.releases.dataset.leakage import note_equal_images, note_split_sources
from tasks.releases.dataset.trainer_files import (
    LABEL_PRIORITY,
    is_image_of_trainer,
    labels_of_trainer,
)
from tasks.releases.labels.image_rows import STATES, ImageFacts
from tasks.releases.labels.other_formats import (
    OtherLabels,
    count_other_labels,
    read_other_labels,
)
from tasks.releases.labels.scan import LabelSums, LabelTask, Progress, scan_labels
from tasks.releases.metadata import note_unusable_metadata
from tasks.releases.problems import ReleaseProblemCode
from tasks.releases.scan_result import Findings, statistics_of
from tasks.releases.statistics import LabelState, ReleaseStatistics, safe_text
from tasks.reports.problem_log import ProblemLog

_MOST_LOOKED_AT = 20
_MOST_DESCRIPTIONS = 20
_MOST_COLLECTIONS = 10


def scan_release(
    path: Path,
    limits: DatasetLimits = DEFAULT_LIMITS,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ReleaseStatistics:
    """Find everything there is to know about a release.

    Now and then `progress` gets how many label members are done, and how many there are;
    `should_stop` is looked at between batches of labels.

    Raises:
        ReleaseError: the file is missing, no usable ZIP, or an attack.
        InvalidInputError: it has more labels than are read.
        JobCancelledError: `should_stop` said so.
    """
    descriptor, file_size = open_archive(path)
    try:
        scan = _Scan(descriptor, file_size, path, limits)
        return scan.run(progress, should_stop)
    finally:
        close_archive(descriptor)


@dataclass(frozen=True)
class _Labels:
    """The label files that are read, as ascending members, and the image of each.

    `of_trainer` are those that Ultralytics finds for each image, -1 where there is none.
    """

    members: Integers
    owners: Integers
    of_trainer: Integers


class _Scan:
    """The steps of a scan, each in one method."""

    def __init__(
        self, descriptor: ArchiveFile, file_size: int, path: Path, limits: DatasetLimits
    ) -> None:
        self.descriptor, self.path, self.limits = descriptor, path, limits
        self.log = ProblemLog(limits.listed_per_code)
        self.directory: ZipDirectory = read_zip_directory(
            descriptor, file_size, path, self.log, limits
        )
        self.names: ListedNames = take_names_apart(self.directory.names, self.directory.name_ends)
        refuse_attack(self.directory, self.names, limits)
        self.used, self.readable = usable_members(self.directory, self.names, self.log)
        is_label = self.used & np.isin(self.names.kinds, (*LABEL_KINDS, *DESCRIBING_KINDS))
        limits.check_sum(path, self.directory.sizes[is_label].tolist())

    def run(
        self, progress: Progress | None, should_stop: Callable[[], bool] | None
    ) -> ReleaseStatistics:
        """Go through all steps."""
        note_unusable_metadata(self.names, self.used, self._read, self.log)
        files, pairs = self._find_files()
        self._note_unread_files()
        described = read_dataset_names(
            files.yaml_files[:_MOST_DESCRIPTIONS],
            files.class_lists[:_MOST_DESCRIPTIONS],
            self.directory.shown_name,
            self._read,
        )
        for problem in described.problems:
            reason = safe_text(problem.reason)
            self.log.add(problem.code, reason, problem.line, place=problem.place)
            self.log.count(problem.code, problem.count - 1)
        found_splits = self._find_splits(files, described)
        splits = found_splits.numbers
        is_yolo = self._is_yolo(pairs)
        other = self._read_other_labels(files, pairs, is_yolo)
        if other.names and (other.by_image or not described.names):
            described = replace(described, names=dict(other.names))
        pairs = self._with_orphans(pairs, other)
        has_collection = self._note_uncounted(pairs, other) or bool(other.by_image)
        labels = self._labels_to_read(files, pairs, is_yolo, found_splits.is_unreachable)
        sums = scan_labels(
            self.descriptor,
            self.directory,
            self._label_task(labels, found_splits, described),
            self.limits,
            self.log,
            progress,
            should_stop,
        )
        count_other_labels(other, splits.astype(np.int64), sums.counts)
        for split, is_in in enumerate(found_splits.further().T):
            again = {at: one for at, one in other.by_image.items() if is_in[at]}
            count_other_labels(
                replace(other, by_image=again), np.full(len(splits), split), sums.counts
            )
        kind = other.kind()
        if kind is not None and not sums.row_count:
            row_count = sum(one.object_count for one in other.by_image.values())
            sums = replace(sums, row_count=row_count, geometry=YoloGeometry(kind))
        is_labelled = has_collection or bool((pairs.labels != NONE).any())
        classes = None if is_labelled else class_folders_of(self.names, files)
        facts = self._image_facts(files, pairs, splits, labels, sums, classes, other)
        facts.is_trainable[found_splits.is_unreachable] = False
        self._note_leaks(files, splits)
        orphan_splits = files.folders.splits[self.names.folder_ids[pairs.orphans]]
        found = Findings(
            self.directory, files, described, pairs, labels.of_trainer, facts, sums, orphan_splits,
            found_splits.members,
        )  # fmt: skip
        return statistics_of(found, self.log)

    def _read(self, member: int, most_bytes: int | None = None) -> bytes | None:
        """Read a describing file; None, with a problem, where that is impossible."""
        if not self.readable[member]:
            return None
        try:
            most_bytes = most_bytes or self.limits.metadata_bytes
            return read_member(self.descriptor, self.directory, member, most_bytes)
        except MemberError as error:
            self.log.add(error.code, error.reason, place=self.directory.shown_name(member))
            return None

    def _find_splits(self, files: DatasetFiles, described: DatasetNames[int]) -> FoundSplits:
        """Find the split of each image."""
        images = PlacedImages(
            files.folders,
            self.names.folder_ids[files.images].astype(np.int64),
            lambda: [os.fsdecode(self.names.name(member)) for member in files.images.tolist()],
        )
        lists = [
            SplitList(os.fsdecode(self.names.name(member)), split, partial(self._read, member))
            for member, split in files.split_lists
        ]
        return find_splits(images, described.config, lists, self.log)

    def _find_files(self) -> tuple[DatasetFiles, Pairs]:
        """Find the files of the dataset, and which belong together.

        Raises:
            ReleaseError: there are too many folders.
        """
        count = int(folders_of_interest(self.names, self.used).sum())
        if count > self.limits.folders:
            message = (
                f"Images and labels lie in {count} folders; {self.limits.folders} are allowed."
            )
            raise ReleaseError(ReleaseErrorCode.TOO_MANY_MEMBERS, message)
        shown = self.directory.shown_name
        files, pairs = find_and_pair(self.names, self.used, LABEL_PRIORITY, self.log, shown)
        if not len(files.images):
            self.log.add(ReleaseProblemCode.NO_IMAGES, "there are no images in the archive")
        return files, pairs

    def _note_unread_files(self) -> None:
        """Note pictures and labels of formats that are not read, by their suffixes."""
        for one in unread_among(self.names, self.used).entries():
            code = ProblemCode.LABEL_FILE_UNREAD
            if one.folder is None:
                code = ProblemCode.PICTURE_FORMAT_UNREAD
            place = safe_text(one.folder or "")
            self.log.add(code, safe_text(one.reason), place=place, count=one.count)

    def _is_yolo(self, pairs: Pairs) -> bool:
        """Whether the texts of a dataset hold YOLO rows, by the first ones that are not empty."""
        members = pairs.labels[pairs.labels != NONE]
        texts = members[self.names.kinds[members] == FileKind.TEXT]
        for member in texts[:_MOST_LOOKED_AT].tolist():
            content = self._read(member) or b""
            file = LabelFile(os.fsdecode(self.names.name(member)), content)
            if content.strip():
                return find_format(file) is LabelFormat.YOLO
        return True

    def _has_shared(self, files: DatasetFiles, members: Integers) -> bool:
        """Whether a file that belongs to no image is one of labels, or looks like one."""
        is_label_folder = files.folders.is_label_folder[self.names.folder_ids[members]]
        is_label_folder = (is_label_folder & (self.names.kinds[members] != FileKind.TABLE)).tolist()
        for member, is_expected in zip(members.tolist(), is_label_folder, strict=True):
            content = self._read(member, self.limits.file_bytes) or b""
            file = LabelFile(os.fsdecode(self.names.name(member)), content)
            if find_format(file) or looks_like_labels(file, is_expected=is_expected):
                return True
        return False

    def _read_other_labels(self, files: DatasetFiles, pairs: Pairs, is_yolo: bool) -> OtherLabels:
        """Read the labels that are no YOLO text, of images that have none of those."""
        kinds = self.names.kinds
        shared = np.array(pairs.shared_files, np.int64)
        candidates = np.concatenate((pairs.labels[pairs.labels != NONE], pairs.orphans, shared))
        is_other = kinds[candidates] != FileKind.TEXT
        others = candidates if not is_yolo else candidates[is_other]
        self.limits.check_held(self.path, self.directory.sizes[others].tolist())
        is_paired = len(others) > 0 and not np.isin(others, (*pairs.orphans, *shared)).all()
        if not is_paired and not len(files.masks) and not self._has_shared(files, others):
            return OtherLabels({}, {})
        has_rows = pairs.labels != NONE
        has_rows[has_rows] = is_yolo & (kinds[pairs.labels[has_rows]] == FileKind.TEXT)
        members = {os.fsdecode(self.names.name(one)): one for one in files.images.tolist()}
        images = {path: position for position, path in enumerate(members)}
        described = [*files.yaml_files, *files.class_lists]
        more = {
            os.fsdecode(self.names.name(one)): one
            for one in (*others.tolist(), *files.masks.tolist(), *described)
        }

        def read(path: str) -> bytes:
            content = self._read(more[path], self.limits.file_bytes)
            if content is None:
                raise OSError("cannot be read")
            return content

        def size_of_image(path: PurePosixPath) -> ImageSize | None:
            member = members[path.as_posix()]

            def read_image(size: int) -> bytes:
                if size < 0:
                    return self._read(member, self.limits.compared_bytes) or b""
                try:
                    stream = MemberStream(self.descriptor, self.directory, member)
                    return stream.read(size) if self.readable[member] else b""
                except MemberError:
                    return b""

            shown = read_shown_size(read_image)
            return None if shown is None else image_size_of(*shown)

        known = {os.fsdecode(self.names.name(one)) for one in described}
        other = read_other_labels(images, more, known, read, size_of_image, self.limits)
        for problem in other.problems:
            self.log.add(
                problem.code,
                safe_text(problem.reason),
                problem.line,
                place=safe_text(problem.place),
                count=problem.count,
            )
        own = {at: labels for at, labels in other.by_image.items() if not has_rows[at]}
        return replace(other, by_image=own)

    def _with_orphans(self, pairs: Pairs, other: OtherLabels) -> Pairs:
        """Note the label files without an image; those that may be about many are known now."""
        without_image = set(other.orphans)
        expected = set(pairs.expected_folders)
        more = [
            member
            for member in pairs.shared_files
            if int(self.names.folder_ids[member]) in expected
            and os.fsdecode(self.names.name(member)) in without_image
        ]
        orphans = np.concatenate((pairs.orphans, np.array(more, np.int64)))
        shown = self.directory.shown_name
        self.log.add_each(ProblemCode.ORPHAN_LABEL, orphans.tolist(), "belongs to no image", shown)
        return replace(pairs, orphans=orphans)

    def _note_uncounted(self, pairs: Pairs, read: OtherLabels) -> bool:
        """Note labels that are not counted; whether a file has those of many other images."""
        is_read = np.zeros(len(pairs.labels), bool)
        is_read[list(read.by_image)] = True
        other = pairs.labels[(pairs.labels != NONE) & ~is_read]
        other = other[self.names.kinds[other] != FileKind.TEXT]
        code, shown = ReleaseProblemCode.LABEL_FORMAT_UNCOUNTED, self.directory.shown_name
        reason = "nothing of it can be used; it is not counted"
        self.log.add_each(code, other.tolist(), reason, shown)
        if read.by_image:
            return False
        found = []
        for member in pairs.shared_files[:_MOST_COLLECTIONS]:
            content = self._read(member) or b""
            if all(key in content for key in (b'"images"', b'"annotations"')):
                found.append(member)
        self.log.add_each(code, found, "labels as COCO JSON, of no image of the release", shown)
        return bool(found)

    def _labels_to_read(
        self, files: DatasetFiles, pairs: Pairs, is_yolo: bool, is_unreachable: Flags
    ) -> _Labels:
        """Return the text labels of images that may be read, in the order of the directory."""
        owners = np.flatnonzero(pairs.labels != NONE)
        members = pairs.labels[owners]
        wanted = (self.names.kinds[members] == FileKind.TEXT) & self.readable[members] & is_yolo
        owners, members = owners[wanted], members[wanted]
        order = np.argsort(members, kind="stable")
        of_trainer = labels_of_trainer(self.names, files.images, pairs)
        of_trainer = np.where(is_unreachable, NONE, of_trainer)
        return _Labels(members[order], owners[order], of_trainer)

    def _label_task(
        self, labels: _Labels, splits: FoundSplits, described: DatasetNames[int]
    ) -> LabelTask:
        """Say what is to be read, and how."""
        uses = np.zeros(len(labels.members), np.int64)
        trained = labels.of_trainer[labels.of_trainer != NONE]
        trained = trained[np.isin(trained, labels.members)]
        np.add.at(uses, np.searchsorted(labels.members, trained), 1)
        config = described.config
        return LabelTask(
            labels=labels.members,
            splits=splits.numbers[labels.owners].astype(np.int64),
            uses=uses,
            more_splits=splits.further()[labels.owners],
            names=described.names,
            keypoint_shape=config.keypoint_shape if config else None,
            task=config.task if config else None,
        )

    def _image_facts(
        self,
        files: DatasetFiles,
        pairs: Pairs,
        splits: NDArray[np.int8],
        labels: _Labels,
        sums: LabelSums,
        classes: Integers | None,
        other: OtherLabels,
    ) -> ImageFacts:
        """Say of every image what is known."""
        count = len(files.images)
        number = {state: STATES.index(state) for state in STATES}
        states = np.full(count, number[LabelState.MISSING], np.uint8)
        has_label = pairs.labels != NONE
        is_text = has_label.copy()
        is_text[has_label] = self.names.kinds[pairs.labels[has_label]] == FileKind.TEXT
        states[has_label] = number[LabelState.UNCOUNTED]
        states[is_text] = number[LabelState.UNREADABLE]
        instances, problem_rows = np.zeros(count, np.int32), np.zeros(count, np.int32)
        instances[labels.owners] = sums.instances
        problem_rows[labels.owners] = sums.problem_rows
        read = labels.owners[sums.is_read]
        states[read] = np.where(
            sums.has_rows[sums.is_read], number[LabelState.ROWS], number[LabelState.EMPTY]
        )
        for position, found in other.by_image.items():
            states[position] = number[LabelState.ROWS if found.labels else LabelState.EMPTY]
            instances[position] = found.object_count
        if classes is not None:
            states[:] = number[LabelState.FOLDER]
            instances[:] = 1
        return ImageFacts(
            self.directory, files.images, splits, pairs.labels, states, instances, problem_rows,
            self._trainable(files, labels, sums), classes,
            class_folder_names(files.folders, self.names.folder_ids[files.images]),
        )  # fmt: skip

    def _trainable(self, files: DatasetFiles, labels: _Labels, sums: LabelSums) -> Flags:
        """Say of every image whether the trainer keeps it: without a label it is background."""
        trainable = is_image_of_trainer(self.names, files.images)
        seen = np.flatnonzero(labels.of_trainer != NONE)
        kept = np.zeros(len(self.directory), bool)
        kept[labels.members[sums.is_kept]] = True
        trainable[seen] = kept[labels.of_trainer[seen]]
        return trainable & self.readable[files.images]

    def _note_leaks(self, files: DatasetFiles, splits: NDArray[np.int8]) -> None:
        """Note pictures that lie in two splits."""
        note_equal_images(
            self.descriptor, self.directory, files.images, splits, self.readable, self.limits,
            self.log,
        )  # fmt: skip
        rests: dict[tuple[str, ...], int] = {}
        keys = [rests.setdefault(rest, len(rests)) for rest in files.folders.class_folders]
        class_keys = np.array(keys, np.int64)[self.names.folder_ids[files.images]]
        note_split_sources(self.directory, self.names, files.images, splits, class_keys, self.log)
