"""The kinds of problems that label files have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePosixPath

from tasks.reports.problem_log import ProblemLog

LISTED_PER_KIND = 1000


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
    # The box was used instead.
    OUTLINE_UNUSABLE = "outline_unusable"
    # One of the two sizes was used; the reason says which.
    IMAGE_SIZE_DIFFERS = "image_size_differs"
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
    CLASSES_TOO_MANY = "classes_too_many"
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
    LABEL_FILE_UNREAD = "label_file_unread"
    PICTURE_FORMAT_UNREAD = "picture_format_unread"
    DATASET_ROOT_EXTRA = "dataset_root_extra"
    SPLIT_MISSING = "split_missing"
    SPLIT_SHARED = "split_shared"
    LIST_LINE_UNUSABLE = "list_line_unusable"


HARMLESS_CODES = frozenset(
    {ProblemCode.BOM, ProblemCode.ENCODING_UTF16, ProblemCode.ENCODING_UTF32}
)
"""Found while reading a label file although all of it was used."""


def label_log(file: PurePosixPath | str = "") -> ProblemLog:
    """A log of the problems of one file or dataset."""
    return ProblemLog(LISTED_PER_KIND, file)
