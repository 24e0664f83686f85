"""Problems of a release with the picture and the label row that each is about, read in place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from storage.errors import ImageError, ImageErrorCode
from tasks.images.decoding import read_shown_size
from tasks.images.file_kinds import FileKind
from tasks.images.files import ImageLimits
from tasks.labels.dataset.listed_names import ListedNames, take_names_apart
from tasks.labels.dataset.pairing import NONE, find_and_pair
from tasks.labels.formats.yolo.irregular import read_irregular
from tasks.labels.limits import DatasetLimits
from tasks.releases.archive.directory import ZipDirectory, read_zip_directory
from tasks.releases.archive.errors import ReleaseError, ReleaseErrorCode
from tasks.releases.archive.member_checks import usable_members
from tasks.releases.archive.members import MemberError, MemberStream, read_member
from tasks.releases.archive.source import (
    ArchiveFile,
    close_archive,
    modified_at_ns,
    open_archive,
)
from tasks.releases.dataset.leakage import other_of_pair
from tasks.releases.dataset.trainer_files import LABEL_PRIORITY
from tasks.reports.problem_log import ProblemLog

_LONGEST_ROW = 200
_BOX_VALUES = 5
_FORMATS = {
    b".jpg": "JPEG", b".jpeg": "JPEG", b".png": "PNG", b".webp": "WEBP", b".bmp": "BMP",
    b".gif": "GIF", b".avif": "AVIF",
}  # fmt: skip

Outline = list[tuple[float, float]]


@dataclass(frozen=True)
class MemberPicture:
    """An image in an archive: its number in the directory, its name, its key and its size.

    `key` tells its content and place from all others. `format` is Pillow's name by the suffix.
    Width and height are as shown; None where the header tells none.
    """

    number: int
    name: str
    key: str
    format: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class ProblemView:
    """A problem with what it is about.

    `picture` is the image, None where it is about none; `other` the one that it is compared with,
    and `other_split` where that lies. `row` is the text of the label line, and `outline` what that
    line says, in shares of the image's width and height; None where it is no row of numbers.
    """

    problem: Mapping[str, Any]
    picture: MemberPicture | None = None
    other: MemberPicture | None = None
    other_split: str | None = None
    row: str | None = None
    class_id: int | None = None
    outline: Outline | None = None


def look_at_problems(
    path: Path,
    problems: Sequence[Mapping[str, Any]],
    limits: DatasetLimits,
    *,
    has_keypoints: bool = False,
) -> list[ProblemView]:
    """Find what stored problems of a release are about; `has_keypoints` of the whole release.

    Raises:
        ReleaseError: the archive is gone or cannot be read.
    """
    with _opened(path, limits) as opened:
        return [opened.view(problem, has_keypoints) for problem in problems]


def find_picture(path: Path, number: int, limits: DatasetLimits) -> MemberPicture | None:
    """The image that is a member of an archive; None where that is none.

    Raises:
        ReleaseError: the archive is gone or cannot be read.
    """
    with _opened(path, limits) as opened:
        return opened.picture(number)


def read_picture(
    path: Path, number: int, key: str, limits: DatasetLimits, most: ImageLimits
) -> bytes:
    """The bytes of an image in an archive.

    Raises:
        ImageError: the archive is gone or another one, or the member cannot be read.
    """
    try:
        with _opened(path, limits) as opened:
            if opened.listing.key(number) != key:
                raise ImageError(ImageErrorCode.CHANGED, "the archive has changed")
            return read_member(
                opened.descriptor, opened.listing.directory, number, most.max_file_bytes
            )
    except MemberError as error:
        raise ImageError(ImageErrorCode.NOT_READABLE, error.reason) from error
    except ReleaseError as error:
        is_gone = error.code is ReleaseErrorCode.MISSING
        code = ImageErrorCode.MISSING if is_gone else ImageErrorCode.NOT_READABLE
        raise ImageError(code, str(error)) from error


@dataclass(frozen=True)
class _Listing:
    """What is known of an archive without reading a member."""

    directory: ZipDirectory

    @cached_property
    def names(self) -> ListedNames:
        return take_names_apart(self.directory.names, self.directory.name_ends)

    @cached_property
    def image_of_label(self) -> dict[int, int]:
        """The image of each label file, also of those that another one counts for."""
        log = ProblemLog(0)
        used, _ = usable_members(self.directory, self.names, log)
        files, pairs = find_and_pair(
            self.names, used, LABEL_PRIORITY, log, self.directory.shown_name
        )
        has_label = np.flatnonzero(pairs.labels != NONE)
        found = dict(
            zip(pairs.labels[has_label].tolist(), files.images[has_label].tolist(), strict=True)
        )
        for other, counting in zip(pairs.shadowed.tolist(), pairs.counting.tolist(), strict=True):
            if counting in found:
                found.setdefault(other, found[counting])
        return found

    def find(self, shown: str) -> int | None:
        """The member of a name as people see it."""
        name, names = shown.encode("utf-8", "surrogatepass"), self.directory.names
        place = names.find(name)
        while name and place >= 0:
            number = int(np.searchsorted(self.directory.name_ends, place))
            if number < len(self.directory) and self.directory.raw_name(number) == name:
                return number
            place = names.find(name, place + 1)
        return self._numbers.get(shown)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Members whose names are not shown as they are written."""
        if self.directory.names.isascii():
            return {}
        shown = self.directory.shown_name
        return {shown(number): number for number in range(len(self.directory))}

    def is_image(self, number: int) -> bool:
        return bool(
            0 <= number < len(self.directory)
            and self.names.kinds[number] == FileKind.IMAGE
            and not self.directory.is_symlink[number]
        )

    def key(self, number: int) -> str:
        content = f"{self.directory.content_key}\0{number}"
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class _Opened:
    """An archive whose members can be read."""

    descriptor: ArchiveFile
    listing: _Listing
    limits: DatasetLimits

    def picture(self, number: int | None) -> MemberPicture | None:
        listing = self.listing
        if number is None or not listing.is_image(number):
            return None
        suffix = listing.names.suffixes[listing.names.suffix_ids[number]].lower()
        return MemberPicture(
            number,
            listing.directory.shown_name(number),
            listing.key(number),
            _FORMATS.get(suffix),
        )

    def view(self, problem: Mapping[str, Any], has_keypoints: bool) -> ProblemView:
        listing = self.listing
        number = listing.find(problem["member"]) if problem["member"] else None
        if number is None:
            return ProblemView(problem)
        if listing.is_image(number):
            name, split = other_of_pair(problem["detail"]) or ("", None)
            other = self._sized(listing.find(name) if name else None)
            return ProblemView(problem, self._sized(number), other, split)
        view = ProblemView(problem, self._sized(listing.image_of_label.get(number)))
        if problem["line"] is None:
            return view
        return self._with_row(view, number, problem["line"], has_keypoints)

    def _sized(self, number: int | None) -> MemberPicture | None:
        """A picture with its size, which its first bytes tell."""
        found = self.picture(number)
        if found is None:
            return None

        def read(size: int) -> bytes:
            try:
                if size < 0:
                    return read_member(
                        self.descriptor, self.listing.directory, found.number,
                        self.limits.compared_bytes,
                    )  # fmt: skip
                return MemberStream(self.descriptor, self.listing.directory, found.number).read(
                    size
                )
            except MemberError:
                return b""

        size = read_shown_size(read)
        return found if size is None else replace(found, width=size[0], height=size[1])

    def _with_row(
        self, view: ProblemView, label: int, line: int, has_keypoints: bool
    ) -> ProblemView:
        """The view of a problem in a line of a label file: the line, and what it draws."""
        try:
            content = read_member(
                self.descriptor, self.listing.directory, label, self.limits.label_bytes
            )
        except MemberError:
            return view
        lines = content.decode("utf-8", "replace").splitlines()
        if not 0 < line <= len(lines):
            return view
        view = replace(view, row=lines[line - 1].strip()[:_LONGEST_ROW])
        if self.listing.names.kinds[label] != FileKind.TEXT:
            return view
        # The line alone: a file may be long.
        rows = read_irregular(lines[line - 1].encode(), {}).rows
        if not rows:
            return view
        values = rows[0][1]
        return replace(view, class_id=int(values[0]), outline=_outline(values, has_keypoints))


def _outline(values: Sequence[float], has_keypoints: bool) -> Outline:
    """What a YOLO row draws: its polygon, or the corners of its box."""
    numbers = values[1:]
    if len(values) > _BOX_VALUES and len(numbers) % 2 == 0 and not has_keypoints:
        return list(zip(numbers[::2], numbers[1::2], strict=True))
    x, y, width, height = numbers[:4]
    left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


@contextmanager
def _opened(path: Path, limits: DatasetLimits) -> Iterator[_Opened]:
    descriptor, size = open_archive(path)
    try:
        listing = _listing(path, size, modified_at_ns(descriptor), limits)
        yield _Opened(descriptor, listing, limits)
    finally:
        close_archive(descriptor)


# A page asks for the pictures of one archive again and again.
@lru_cache(maxsize=2)
def _listing(path: Path, size: int, _modified_at_ns: int, limits: DatasetLimits) -> _Listing:
    descriptor, now = open_archive(path)
    try:
        return _Listing(read_zip_directory(descriptor, min(size, now), path, ProblemLog(0), limits))
    finally:
        close_archive(descriptor)
