"""The kinds of problems that label files have, and a bounded log of them."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import PurePosixPath

from tasks.labels.annotations import LabelProblem

# A file of nothing but broken lines must not fill the memory: after so many entries of one kind,
# the rest of that kind is counted in one entry.
LISTED_PER_KIND = 1000
QUOTED_CHARACTERS = 40


class ProblemCode(StrEnum):
    """What can be wrong with labels.

    The comment of each group says what became of the thing that the problem is about.
    """

    # The file was read; only its text is unusual.
    BOM = "bom"
    ENCODING_UTF16 = "encoding_utf16"
    ENCODING_UTF32 = "encoding_utf32"
    # The readable lines or characters were used.
    ENCODING_UNREADABLE = "encoding_unreadable"
    # Nothing of the file was used.
    FILE_UNREADABLE = "file_unreadable"
    FILE_TOO_LARGE = "file_too_large"
    JSON_UNREADABLE = "json_unreadable"
    JSON_UNKNOWN_FORMAT = "json_unknown_format"
    XML_UNREADABLE = "xml_unreadable"
    YAML_UNREADABLE = "yaml_unreadable"
    IMAGE_SIZE_MISSING = "image_size_missing"
    # The line or object was left out.
    ROW_TOO_SHORT = "row_too_short"
    ROW_LENGTH = "row_length"
    POLYGON_ODD = "polygon_odd"
    POLYGON_TOO_FEW_POINTS = "polygon_too_few_points"
    SEPARATOR_COMMA = "separator_comma"
    COORD_NOT_NUMBER = "coord_not_number"
    COORD_NOT_FINITE = "coord_not_finite"
    BOX_NEGATIVE_SIZE = "box_negative_size"
    CLASS_NOT_INTEGER = "class_not_integer"
    CLASS_UNKNOWN = "class_unknown"
    OBJECT_MALFORMED = "object_malformed"
    SHAPE_UNSUPPORTED = "shape_unsupported"
    MASK_UNREADABLE = "mask_unreadable"
    IMAGE_UNKNOWN = "image_unknown"
    # The label was kept as it is.
    COORD_NEGATIVE = "coord_negative"
    COORD_OVER_ONE = "coord_over_one"
    BOX_LEAVES_IMAGE = "box_leaves_image"
    BOX_ZERO_AREA = "box_zero_area"
    ROW_DUPLICATE = "row_duplicate"
    EXTRA_COLUMN = "extra_column"
    CLASS_OUT_OF_RANGE = "class_out_of_range"
    VISIBILITY_INVALID = "visibility_invalid"
    MASK_HOLES_FILLED = "mask_holes_filled"
    # About the whole dataset.
    MIXED_GEOMETRY = "mixed_geometry"
    AMBIGUOUS_NINE = "ambiguous_nine"
    KEYPOINT_SHAPE_INFERRED = "keypoint_shape_inferred"
    KEYPOINT_SHAPE_INVALID = "keypoint_shape_invalid"
    PIXELS_NOT_NORMALISED = "pixels_not_normalised"
    VOC_STARTS_AT_ZERO = "voc_starts_at_zero"
    CLASS_NAME_EMPTY = "class_name_empty"
    CLASS_NAME_INVALID = "class_name_invalid"
    CLASS_ID_GAP = "class_id_gap"
    CLASS_NAMES_DIFFER = "class_names_differ"
    NC_MISMATCH = "nc_mismatch"
    YAML_DOWNLOAD_KEY = "yaml_download_key"
    # About files and folders.
    FILES_IGNORED = "files_ignored"
    UNSAFE_PATH = "unsafe_path"
    CASE_CONFLICT = "case_conflict"
    STEM_SHARED = "stem_shared"
    LABEL_EXTENSION_CASE = "label_extension_case"
    LABEL_FILE_SHADOWED = "label_file_shadowed"
    ORPHAN_LABEL = "orphan_label"
    DATASET_ROOT_EXTRA = "dataset_root_extra"
    SPLIT_MISSING = "split_missing"


def quoted(value: object) -> str:
    """Show a value in a message: its `repr`, at most `QUOTED_CHARACTERS` of its own long."""
    if isinstance(value, str):
        value = value if len(value) <= QUOTED_CHARACTERS else value[:QUOTED_CHARACTERS] + "…"
        return repr(value)
    if isinstance(value, (int, float, bool)) or value is None:
        # str() of an enormous integer is refused by Python, and slow before that.
        if isinstance(value, int) and value.bit_length() > 128:
            return "an enormous integer"
        return repr(value)
    # repr() of a nested value could be as large as the file.
    return f"a {type(value).__name__}"


class ProblemLog:
    """Collects the problems of one file or dataset, and keeps their number bounded.

    Attributes:
        file: what the problems are about unless they name another file.
    """

    def __init__(self, file: PurePosixPath) -> None:
        self.file = file
        self._listed: list[LabelProblem] = []
        self._counts: Counter[str] = Counter()

    def add(
        self,
        code: ProblemCode,
        reason: str,
        line: int | None = None,
        file: PurePosixPath | None = None,
    ) -> None:
        """Note one problem.

        Args:
            code: the kind of problem.
            reason: what is wrong, in words, without the file and the line.
            line: line in the file, from 1; None where it concerns the file.
            file: another file than the log's own, in a log about a whole dataset.
        """
        self._counts[code] += 1
        if self._counts[code] <= LISTED_PER_KIND:
            self._listed.append(LabelProblem(str(code), file or self.file, line, reason))

    def entries(self) -> tuple[LabelProblem, ...]:
        """Return the problems in the order they came, then one entry per kind that has more."""
        more = [
            LabelProblem(
                code,
                self.file,
                None,
                f"{count - LISTED_PER_KIND} more of this kind",
                count - LISTED_PER_KIND,
            )
            for code, count in self._counts.items()
            if count > LISTED_PER_KIND
        ]
        return (*self._listed, *more)
