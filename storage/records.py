"""Words and records of the tables that pure code uses as well: nothing here needs a database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class SessionStatsSource(StrEnum):
    """What the statistics of a session were made from; images are always counted in the folder."""

    MANIFEST = "manifest"
    IMAGE_METADATA = "image_metadata"
    FILESYSTEM = "filesystem"


class SessionManifestStatus(StrEnum):
    """What the generator says of a session."""

    ONGOING = "ongoing"
    COMPLETED = "completed"
    ABORTED = "aborted"


class ReleaseStatsSource(StrEnum):
    """Where the statistics come from: the archive's own metadata, or its members."""

    METADATA = "metadata"
    SCAN = "scan"


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One image of a project with what is known of its content, labels and origin.

    `file_size` (bytes) and `modified_at_ns` are those of the registration. `width`, `height`
    (pixels) and `format` (Pillow's name) are None where the header tells none.

    Attributes:
        state: "present", or "missing" where the file was gone at the last registration.
        split: "train", "val" or "test"; None where the dataset names none.
        generated_by: the key of how it was made.
        failure: why its content could not be measured; None where it could, or nobody has tried.
        perceptual_hash: 16 hexadecimal digits; None for content that is flat or not measured.
    """

    image_id: UUID
    relative_path: str
    sha256: str
    file_size: int
    modified_at_ns: int
    width: int | None
    height: int | None
    format: str | None
    state: str
    split: str | None
    is_labeled: bool
    label_path: str | None
    label_format: str | None
    label_count: int | None
    generated_from_id: UUID | None
    generated_by: str | None
    failure: str | None
    is_measured: bool
    perceptual_hash: str | None
    difference_hash: str | None

    @property
    def filename(self) -> str:
        """The last part of its path."""
        return self.relative_path.rpartition("/")[2]

    @property
    def is_missing(self) -> bool:
        """Whether the file was gone at the last registration."""
        return self.state == "missing"
