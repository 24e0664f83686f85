"""One pass over a release: every fact about its dataset, without unpacking it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from storage.errors import ImageError
from tasks.images.decoding import read_image_facts
from tasks.images.unread_files import SUFFIXES as UNREAD_SUFFIXES
from tasks.images.unread_files import UnreadFiles
from tasks.labels.dataset.class_names import DatasetNames, read_dataset_names
from tasks.labels.dataset.collectors.unread_labels import looks_like_labels
from tasks.labels.dataset.splits import PlacedImages, SplitList, find_splits
from tasks.labels.formats.label_file import LabelFile
from tasks.labels.formats.registry import LabelFormat, find_format
from tasks.labels.formats.yolo.geometry import YoloGeometry
from tasks.labels.geometry import ImageSize, image_size_of
from tasks.labels.problems import ProblemCode
from tasks.releases.archive.directory import Integers, ZipDirectory, read_zip_directory
from tasks.releases.archive.limits import DEFAULT_LIMITS, ArchiveLimits
from tasks.releases.archive.member_checks import note_case_conflicts, usable_members
from tasks.releases.archive.member_names import Flags, MemberKind, MemberNames, take_names_apart
from tasks.releases.archive.members import MemberError, place_of, read_member
from tasks.releases.archive.source import open_archive
from tasks.releases.dataset.files import (
    DatasetFiles,
    class_folders,
    class_folders_of,
    find_dataset_files,
)
from tasks.releases.dataset.leakage import note_equal_images, note_split_sources
from tasks.releases.dataset.pairing import NONE, Pairs, odd_suffixes, pair_labels
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

_MOST_COLLECTIONS = 10
_MOST_LOOKED_AT = 20
_SHARED_KINDS = (MemberKind.JSON, MemberKind.XML, MemberKind.TABLE)


def scan_release(
    path: Path,
    limits: ArchiveLimits = DEFAULT_LIMITS,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ReleaseStatistics:
    """Find everything there is to know about a release.

    Now and then `progress` gets how many label members are done, and how many there are;
    `should_stop` is looked at between batches of labels.

    Raises:
        ReleaseError: the file is missing, or no usable ZIP.
        JobCancelledError: `should_stop` said so.
    """
    descriptor, file_size = open_archive(path)
    try:
        scan = _Scan(descriptor, file_size, path, limits)
        return scan.run(progress, should_stop)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class _Labels:
    """The label files that are read, as ascending members, and the image of each."""

    members: Integers
    owners: Integers


class _Scan:
    """The steps of a scan, each in one method."""

    def __init__(self, descriptor: int, file_size: int, path: Path, limits: ArchiveLimits) -> None:
        self.descriptor, self.path, self.limits = descriptor, path, limits
        self.log = ProblemLog(limits.listed_per_code)
        self.directory: ZipDirectory = read_zip_directory(
            descriptor, file_size, path, self.log, limits
        )
        self.names: MemberNames = take_names_apart(self.directory)
        self.used, self.readable = usable_members(self.directory, self.names, limits, self.log)

    def run(
        self, progress: Progress | None, should_stop: Callable[[], bool] | None
    ) -> ReleaseStatistics:
        """Go through all steps."""
        note_unusable_metadata(self.names, self.used, self._read, self.log)
        files = find_dataset_files(self.names, self.used, self.limits)
        self._note_other_datasets(files)
        self._note_unread_files()
        described = read_dataset_names(
            files.yaml_files, files.class_lists, self.directory.shown_name, self._read
        )
        for problem in described.problems:
            self.log.add(
                problem.code,
                safe_text(problem.reason),
                problem.line,
                place=problem.place,
            )
            self.log.count(problem.code, problem.count - 1)
        splits = self._find_splits(files, described)
        # A table is about many images, whatever its name.
        is_table = self.names.kinds[files.candidates] == MemberKind.TABLE
        tables, candidates = files.candidates[is_table], files.candidates[~is_table]
        pairs = pair_labels(self.names, files.folders, files.images, candidates)
        pairs = replace(pairs, orphans=np.concatenate((pairs.orphans, tables)))
        is_yolo = self._is_yolo(pairs)
        other = self._read_other_labels(files, pairs, is_yolo)
        if other.by_image:
            described = replace(described, names=dict(other.names))
        orphans = self._orphans(files, pairs, other)
        self._note_pairs(files, pairs, orphans, other)
        has_collection = bool(other.by_image) or self._note_label_collections(pairs)
        labels = self._labels_to_read(pairs, is_yolo)
        sums = scan_labels(
            self.descriptor,
            self.directory,
            self._label_task(labels, pairs, splits, described),
            self.limits,
            self.log,
            progress,
            should_stop,
        )
        count_other_labels(other, splits.astype(np.int64), sums.counts)
        kind = other.kind()
        if kind is not None and not sums.row_count:
            row_count = sum(len(one.labels) for one in other.by_image.values())
            sums = replace(sums, row_count=row_count, geometry=YoloGeometry(kind))
        is_labelled = has_collection or bool((pairs.labels != NONE).any())
        classes = None if is_labelled else class_folders_of(self.names, files)
        facts = self._image_facts(files, pairs, splits, labels, sums, classes, other)
        self._note_leaks(files, splits)
        orphan_splits = files.folders.splits[self.names.folder_ids[orphans]]
        found = Findings(self.directory, files, described, pairs, facts, sums, orphan_splits)
        return statistics_of(found, self.log)

    def _read(self, member: int, most_bytes: int | None = None) -> bytes | None:
        """Read a describing file; None, with a problem, where that is impossible."""
        if not self.readable[member]:
            return None
        try:
            return read_member(
                self.descriptor,
                place_of(self.directory, member),
                self.directory.start,
                most_bytes or self.limits.metadata_bytes,
                self.limits,
            )
        except MemberError as error:
            self.log.add(error.code, error.reason, place=self.directory.shown_name(member))
            return None

    def _find_splits(self, files: DatasetFiles, described: DatasetNames[int]) -> NDArray[np.int8]:
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

    def _note_other_datasets(self, files: DatasetFiles) -> None:
        """Note datasets beside the one that counts, and images outside of all."""
        root = safe_text("/".join(files.folders.root) or ".")
        for other, images in files.folders.other_roots:
            detail = f"another dataset of {images} images; the one in {root} counts"
            self.log.add(
                ProblemCode.DATASET_ROOT_EXTRA, detail, place=safe_text("/".join(other) or ".")
            )
        outside = files.image_count_outside - sum(images for _, images in files.folders.other_roots)
        if outside > 0:
            detail = f"{outside} images lie outside of the dataset in {root}"
            self.log.add(ProblemCode.DATASET_ROOT_EXTRA, detail)
        if not len(files.images):
            self.log.add(ReleaseProblemCode.NO_IMAGES, "there are no images in the archive")

    def _note_unread_files(self) -> None:
        """Note pictures and labels of formats that are not read, by their suffixes."""
        suffixes = [os.fsdecode(suffix).lower() for suffix in self.names.suffixes]
        is_unread = np.array([suffix in UNREAD_SUFFIXES for suffix in suffixes], bool)
        if not is_unread.any():
            return
        members = self.used & (self.names.kinds == MemberKind.OTHER)
        members[members] = is_unread[self.names.suffix_ids[members]]
        unread = UnreadFiles()
        places = np.stack((self.names.folder_ids[members], self.names.suffix_ids[members]), axis=1)
        found, counts = np.unique(places, axis=0, return_counts=True)
        for (folder, suffix), count in zip(found.tolist(), counts.tolist(), strict=True):
            place = safe_text(os.fsdecode(self.names.folders[folder]))
            unread.note(place, suffixes[suffix], count)
        for one in unread.entries():
            code = ProblemCode.LABEL_FILE_UNREAD
            if one.folder is None:
                code = ProblemCode.PICTURE_FORMAT_UNREAD
            self.log.add(code, one.reason, place=one.folder or "", count=one.count)

    def _note_members(self, code: str, members: Integers, detail: str) -> None:
        """Note a problem of some members; only so many are named."""
        room = self.log.room(code)
        for member in members[:room].tolist():
            self.log.add(code, detail, place=self.directory.shown_name(member))
        self.log.count(code, max(len(members) - room, 0))

    def _is_yolo(self, pairs: Pairs) -> bool:
        """Whether the texts of a dataset hold YOLO rows, by the first ones that are not empty."""
        members = pairs.labels[pairs.labels != NONE]
        texts = members[self.names.kinds[members] == MemberKind.TEXT]
        for member in texts[:_MOST_LOOKED_AT].tolist():
            content = self._read(member) or b""
            file = LabelFile(os.fsdecode(self.names.name(member)), content)
            if content.strip():
                return find_format(file) is LabelFormat.YOLO
        return True

    def _has_shared(self, files: DatasetFiles, members: Integers) -> bool:
        """Whether a file that belongs to no image is one of labels, or looks like one."""
        is_label_folder = files.folders.is_label_folder[self.names.folder_ids[members]]
        is_label_folder = (
            is_label_folder & (self.names.kinds[members] != MemberKind.TABLE)
        ).tolist()
        for member, is_expected in zip(members.tolist(), is_label_folder, strict=True):
            file = LabelFile(os.fsdecode(self.names.name(member)), self._read(member) or b"")
            if find_format(file) or looks_like_labels(file, is_expected=is_expected):
                return True
        return False

    def _read_other_labels(self, files: DatasetFiles, pairs: Pairs, is_yolo: bool) -> OtherLabels:
        """Read the labels that are no YOLO text, of images that have none of those."""
        kinds = self.names.kinds
        candidates = np.concatenate((pairs.labels[pairs.labels != NONE], pairs.orphans))
        is_other = kinds[candidates] != MemberKind.TEXT
        others = candidates if not is_yolo else candidates[is_other]
        is_paired = len(others) > 0 and not np.isin(others, pairs.orphans).all()
        if not is_paired and not len(files.masks) and not self._has_shared(files, others):
            return OtherLabels({}, {})
        has_rows = pairs.labels != NONE
        has_rows[has_rows] = is_yolo & (kinds[pairs.labels[has_rows]] == MemberKind.TEXT)
        members = {os.fsdecode(self.names.name(one)): one for one in files.images.tolist()}
        images = {path: position for position, path in enumerate(members)}
        described = [*files.yaml_files, *files.class_lists]
        more = {
            os.fsdecode(self.names.name(one)): one
            for one in (*others.tolist(), *files.masks.tolist(), *described)
        }

        def read(path: str) -> bytes:
            content = self._read(more[path])
            if content is None:
                raise OSError("cannot be read")
            return content

        def size_of_image(path: PurePosixPath) -> ImageSize | None:
            content = self._read(members[path.as_posix()], self.limits.compared_bytes)
            try:
                facts = read_image_facts(content or b"")
            except ImageError:
                return None
            return image_size_of(facts.width, facts.height)

        other = read_other_labels(images, more, read, size_of_image)
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

    def _note_pairs(
        self, files: DatasetFiles, pairs: Pairs, orphans: Integers, read: OtherLabels
    ) -> None:
        """Note what is odd about images and their labels."""
        note_case_conflicts(
            self.directory, self.names, np.concatenate((files.images, files.candidates)), self.log
        )
        note = self._note_members
        note(ProblemCode.STEM_SHARED, pairs.images[pairs.is_shared],
             "shares its name with another image, which has the label")  # fmt: skip
        note(ProblemCode.LABEL_FILE_SHADOWED, pairs.shadowed,
             "not read: another label file counts for the same image")  # fmt: skip
        note(ProblemCode.LABEL_EXTENSION_CASE, odd_suffixes(self.names, files.candidates),
             "read; systems that heed case expect a suffix in lower case")  # fmt: skip
        note(ProblemCode.ORPHAN_LABEL, orphans, "belongs to no image")
        is_read = np.zeros(len(pairs.labels), bool)
        is_read[list(read.by_image)] = True
        other = pairs.labels[(pairs.labels != NONE) & ~is_read]
        other = other[self.names.kinds[other] != MemberKind.TEXT]
        note(ReleaseProblemCode.LABEL_FORMAT_UNCOUNTED, other,
             "a label of no known format; it is not counted")  # fmt: skip

    def _note_label_collections(self, pairs: Pairs) -> bool:
        """Note files with the labels of many images (COCO, by its keys); whether there is one."""
        found = False
        candidates = pairs.orphans[self.names.kinds[pairs.orphans] == MemberKind.JSON]
        for member in candidates[:_MOST_COLLECTIONS].tolist():
            content = self._read(member) or b""
            if all(key in content for key in (b'"images"', b'"annotations"')):
                found = True
                detail = "labels as COCO JSON, of no image of the release"
                self._note_members(
                    ReleaseProblemCode.LABEL_FORMAT_UNCOUNTED, np.array([member]), detail
                )
        return found

    def _orphans(self, files: DatasetFiles, pairs: Pairs, other: OtherLabels) -> Integers:
        """Return the label files without an image: in label folders, or beside images."""
        orphans: Integers = pairs.orphans
        folders = self.names.folder_ids[orphans]
        has_images = np.zeros(len(self.names.folders), bool)
        has_images[self.names.folder_ids[files.images]] = True
        expected = files.folders.is_label_folder[folders] | has_images[folders]
        # One file for all images is the rule in other formats; who has read them knows.
        is_shared = np.isin(self.names.kinds[orphans], _SHARED_KINDS)
        without_image = set(other.orphans)
        is_shared[is_shared] = [
            os.fsdecode(self.names.name(member)) not in without_image
            for member in orphans[is_shared].tolist()
        ]
        expected &= ~is_shared
        return np.compress(expected, orphans)

    def _labels_to_read(self, pairs: Pairs, is_yolo: bool) -> _Labels:
        """Return the text labels of images that may be read, in the order of the directory."""
        owners = np.flatnonzero(pairs.labels != NONE)
        members = pairs.labels[owners]
        wanted = (self.names.kinds[members] == MemberKind.TEXT) & self.readable[members] & is_yolo
        owners, members = owners[wanted], members[wanted]
        order = np.argsort(members, kind="stable")
        return _Labels(members[order], owners[order])

    def _label_task(
        self, labels: _Labels, pairs: Pairs, splits: NDArray[np.int8], described: DatasetNames[int]
    ) -> LabelTask:
        """Say what is to be read, and how."""
        uses = np.zeros(len(labels.members), np.int64)
        trained = pairs.trainer_labels[pairs.trainer_labels != NONE]
        trained = trained[np.isin(trained, labels.members)]
        np.add.at(uses, np.searchsorted(labels.members, trained), 1)
        config = described.config
        return LabelTask(
            labels=labels.members,
            splits=splits[labels.owners].astype(np.int64),
            uses=uses,
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
        is_text[has_label] = self.names.kinds[pairs.labels[has_label]] == MemberKind.TEXT
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
            instances[position] = len(found.labels)
        if classes is not None:
            states[:] = number[LabelState.FOLDER]
            instances[:] = 1
        return ImageFacts(
            self.directory, files.images, splits, pairs.labels, states, instances, problem_rows,
            self._trainable(pairs, labels, sums), classes, class_folders(self.names, files),
        )  # fmt: skip

    def _trainable(self, pairs: Pairs, labels: _Labels, sums: LabelSums) -> Flags:
        """Say of every image whether the trainer keeps it: without a label it is background."""
        trainable = np.ones(len(pairs.images), bool)
        seen = np.flatnonzero(pairs.trainer_labels != NONE)
        kept = np.zeros(len(self.directory), bool)
        kept[labels.members[sums.is_kept]] = True
        trainable[seen] = kept[pairs.trainer_labels[seen]]
        return trainable & self.readable[pairs.images]

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
