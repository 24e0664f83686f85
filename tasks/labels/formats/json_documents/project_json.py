"""The project's own JSON form, also with the suffix `.toon`: one document an image.

`{"v": 1, "m": [file, width, height], "c": [names], "d": [[class, [x1, y1, x2, y2, ...]], ...]}`
with points in pixels. `v` and `c` may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from storage.errors import InvalidInputError
from tasks.labels.annotations import Box, Geometry, ImageLabels, Label, Polygon
from tasks.labels.formats.class_files import (
    ClassList,
    class_id_of,
    class_name_of,
    compare_class_names,
    names_of_json_list,
)
from tasks.labels.formats.json_files import dump_json, file_name_of
from tasks.labels.formats.label_file import ImageContext, LabelFile
from tasks.labels.geometry import (
    PIXEL_DECIMALS,
    ImageSize,
    box_around,
    image_size_of,
    is_acceptable,
    pairs_of_numbers,
    polygon_of,
    whole_number,
)
from tasks.labels.picture_sizes import fit_to_picture
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem, ProblemLog, quoted

VERSION = 1


def is_project_json(file: LabelFile) -> bool:
    """Whether a document has `d`."""
    document = file.json(label_log())
    return isinstance(document, dict) and isinstance(document.get("d"), list)


def read_project_json(file: LabelFile, context: ImageContext) -> ImageLabels:
    """Read the project JSON (or `.toon`) file of one image, by default the one that `m` names.

    Two points are the opposite corners of a box, three or more a polygon. The dataset's names by id
    are used where the file has no `c`; where it has, the file's own names count and each difference
    is noted. The size of the context is used where `m` has no size.
    """
    source, image, names = file.path, context.image, context.names
    log = label_log(source)
    document = file.json(log)
    if not isinstance(document, dict) or not is_project_json(file):
        if not log.entries():
            log.add(ProblemCode.JSON_UNKNOWN_FORMAT, "not the project's JSON form: it has no `d`")
        return ImageLabels(image or source.with_suffix(""), source, (), log.entries())
    own_names = names_of_json_list(document.get("c"), log)
    meta = document.get("m")
    meta = [*meta, None, None, None][:3] if isinstance(meta, list) else [None, None, None]
    if image is None:
        image = file_name_of(meta[0]) or source.with_suffix("")
    written = image_size_of(meta[1], meta[2])
    size = written or context.find_size()
    labels = []
    if size is None and document["d"]:
        log.add(ProblemCode.IMAGE_SIZE_MISSING, "`m` has no usable width and height")
    elif size is not None:
        for position, entry in enumerate(document["d"], start=1):
            label = _label_of_entry(entry, f"object {position}", size, own_names or names, log)
            if label is not None:
                labels.append(label)
    differences: tuple[Problem, ...] = ()
    if own_names:
        differences = compare_class_names(
            [ClassList(PurePosixPath("the dataset"), names), ClassList(source, own_names)]
        )
    found = ImageLabels(image, source, tuple(labels), (*log.entries(), *differences))
    return fit_to_picture(found, written, context.find_size)


def write_project_json(
    labels: Iterable[Label],
    *,
    image: PurePosixPath,
    image_size: ImageSize,
    names: Mapping[int, str] | None = None,
) -> bytes:
    """Write boxes and polygons as the project JSON file of one image.

    Reading gives the same labels to a millionth of a pixel, without `instance` and `is_crowd`. A
    list of names has no gaps: an id without a name gets its number as name. Where `names` is None,
    `c` is left out, and readers take classes.txt.

    Raises:
        InvalidInputError: a label has no class id, or is an oriented box or keypoints.
    """
    objects: list[list[object]] = []
    for label in labels:
        if label.class_id is None:
            raise InvalidInputError(
                f"the project's JSON form needs class ids, and {label.class_name!r} has none"
            )
        objects.append([label.class_id, _pixels_of_geometry(label.geometry, image_size)])
    document: dict[str, object] = {
        "v": VERSION,
        "m": [image.name, whole_number(image_size.width), whole_number(image_size.height)],
    }
    if names is not None:
        document["c"] = [
            class_name_of(names, number) for number in range(max(names, default=-1) + 1)
        ]
    document["d"] = objects
    return dump_json(document)


def _label_of_entry(
    entry: object, where: str, size: ImageSize, names: Mapping[int, str], log: ProblemLog
) -> Label | None:
    """Make a label of one entry of `d`, or note why not."""
    if not isinstance(entry, list) or len(entry) < 2:
        log.add(ProblemCode.OBJECT_MALFORMED, f"{where} is not [class, [x1, y1, ...]]")
        return None
    class_id = class_id_of(entry[0])
    if class_id is None and isinstance(entry[0], str):
        class_id = next((number for number, name in names.items() if name == entry[0]), None)
    if class_id is None:
        log.add(ProblemCode.CLASS_UNKNOWN, f"{where} has the class {quoted(entry[0])}")
        return None
    points = pairs_of_numbers(entry[1])
    if points is None:
        log.add(ProblemCode.COORD_NOT_NUMBER, f"the points of {where} are not pairs of numbers")
        return None
    normalised = [size.normalised_point(*point) for point in points]
    geometry = box_around(normalised) if len(points) == 2 else polygon_of(normalised)
    if geometry is None:
        reason = f"{where} is an outline of fewer than three different points"
        log.add(ProblemCode.POLYGON_TOO_FEW_POINTS, reason)
        return None
    if not is_acceptable(geometry, log, where):
        return None
    if names and class_id not in names:
        log.add(ProblemCode.CLASS_OUT_OF_RANGE, f"{where} has class {class_id}, which has no name")
    return Label(class_name_of(names, class_id), geometry, class_id)


def _pixels_of_geometry(geometry: Geometry, size: ImageSize) -> list[float]:
    """Return the points of an object in pixels.

    Raises:
        InvalidInputError: the geometry is an oriented box or keypoints.
    """
    match geometry:
        case Box():
            return [round(edge, PIXEL_DECIMALS) for edge in size.pixel_edges(geometry)]
        case Polygon():
            return [value for point in geometry.points for value in size.pixel_point(point)]
    raise InvalidInputError(
        f"the project's JSON form holds boxes and polygons, not a {type(geometry).__name__}"
    )
