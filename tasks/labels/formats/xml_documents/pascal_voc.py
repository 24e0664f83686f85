"""Pascal VOC files: one XML document an image, boxes in pixels.

The pixels of VOC count from 1 and both ends of a box belong to it: `xmin` 1 is the left edge of the
image, and `xmax` of its width is the right edge. Many programs count from 0 instead and mean the
edges themselves; their boxes are read with `counts_from_one=False`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from storage.errors import InvalidInputError
from tasks.labels.annotations import Box, ImageLabels, Label, Point, Polygon
from tasks.labels.formats.label_file import ImageContext, LabelFile
from tasks.labels.formats.xml_files import number_of, text_of
from tasks.labels.geometry import (
    PIXEL_DECIMALS,
    ImageSize,
    box_around,
    image_size_of,
    is_acceptable,
    polygon_of,
    whole_number,
)
from tasks.labels.picture_sizes import fit_to_picture
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import ProblemLog, quoted

_BEGINS_AT_ZERO = re.compile(rb"<[xy]min>\s*0+(\.0*)?\s*</[xy]min>")


def is_pascal_voc(file: LabelFile) -> bool:
    """Whether the root is `annotation`, with what VOC has and the older LabelMe has not."""
    document = file.xml(label_log())
    if document is None or document.root.tag != "annotation":
        return False
    return (
        document.root.find("imagesize") is None and document.root.find("object/polygon/pt") is None
    )


def read_pascal_voc(file: LabelFile, context: ImageContext) -> ImageLabels:
    """Read the Pascal VOC file of one image, by default the one that `filename` names.

    A document type is refused, and with it entities and everything external. An object may have a
    `polygon` of x1, y1, x2, y2, ... beside its box, as some exporters write it; these are plain
    pixel positions from 0, and the polygon counts. `difficult`, `truncated` and parts are not read.
    The size of the picture is used where the file has no usable `size`, or another one that its
    boxes do not need; that is noted. A box that begins at 0 shows that pixels do not count from
    one, and is noted.
    """
    source, image = file.path, context.image
    log = label_log(source)
    document = file.xml(log)
    if document is not None and document.root.tag != "annotation":
        reason = f"the root is {quoted(document.root.tag)}, not annotation"
        log.add(ProblemCode.XML_UNREADABLE, reason)
        document = None
    if document is None:
        return ImageLabels(image or source.with_suffix(""), source, (), log.entries())
    root = document.root
    if image is None:
        name = PureWindowsPath(text_of(root, "filename")).name
        image = PurePosixPath(name) if name else source.with_suffix("")
    objects = root.findall("object")
    width, height = (number_of(text_of(root, f"size/{side}")) for side in ("width", "height"))
    written = image_size_of(width, height)
    size = written or context.find_size()
    labels = []
    if size is None and objects:
        log.add(ProblemCode.IMAGE_SIZE_MISSING, "no usable size/width and size/height")
    elif size is not None:
        for element in objects:
            line = document.lines[element]
            label = _label_of_object(element, line, size, context.voc_counts_from_one, log)
            if label is not None:
                labels.append(label)
    found = ImageLabels(image, source, tuple(labels), log.entries())
    return fit_to_picture(found, written, context.find_size, trusts_written=False)


def begins_at_pixel_zero(content: bytes) -> bool:
    """Whether a box of a file begins at pixel 0: a cheap look without parsing the document.

    If this is so in one file of a dataset, all its boxes count from 0.
    """
    return _BEGINS_AT_ZERO.search(content) is not None


def write_pascal_voc(
    labels: Iterable[Label],
    *,
    image: PurePosixPath,
    image_size: ImageSize,
    counts_from_one: bool = True,
) -> bytes:
    """Write boxes and polygons as the Pascal VOC file of one image.

    Positions keep six decimals, so that reading gives the same labels to a millionth of a pixel,
    without class ids, `instance` and `is_crowd`. Polygons are written as the `polygon` extension
    beside their box. `counts_from_one` is False for datasets that count pixels from 0.

    Raises:
        InvalidInputError: a label is an oriented box or keypoints, or a name has characters that
            XML cannot hold.
    """
    rows = [
        "<annotation>",
        f"  <filename>{_xml_text(image.name)}</filename>",
        "  <size>",
        f"    <width>{whole_number(image_size.width)}</width>",
        f"    <height>{whole_number(image_size.height)}</height>",
        "    <depth>3</depth>",
        "  </size>",
    ]
    for label in labels:
        rows += _rows_of_label(label, image_size, int(counts_from_one))
    return "\n".join([*rows, "</annotation>", ""]).encode()


def _label_of_object(
    element: Element,
    line: int,
    size: ImageSize,
    counts_from_one: bool,
    log: ProblemLog,
) -> Label | None:
    """Make a label of one `object`, or note why not."""
    name = text_of(element, "name")
    if not name:
        log.add(ProblemCode.CLASS_UNKNOWN, "the object has no name", line)
        return None
    geometry: Box | Polygon | None
    outline = element.find("polygon")
    if outline is not None:
        geometry = _polygon_of_element(outline, line, size, log)
    else:
        geometry = _box_of_object(element, line, size, counts_from_one, log)
    if geometry is None or not is_acceptable(geometry, log, "the object", line):
        return None
    return Label(name, geometry, line=line)


def _box_of_object(
    element: Element,
    line: int,
    size: ImageSize,
    counts_from_one: bool,
    log: ProblemLog,
) -> Box | None:
    """Read `bndbox`, or note why not."""
    if element.find("bndbox") is None:
        log.add(ProblemCode.SHAPE_UNSUPPORTED, "the object has neither bndbox nor polygon", line)
        return None
    edges = []
    for side in ("xmin", "ymin", "xmax", "ymax"):
        text = text_of(element, f"bndbox/{side}")
        number = number_of(text)
        if number is None:
            log.add(ProblemCode.COORD_NOT_NUMBER, f"{side} is {quoted(text)}", line)
            return None
        edges.append(number)
    left, top, right, bottom = edges
    if counts_from_one:
        if left == 0 or top == 0:
            reason = "a box begins at pixel 0: the file seems to count pixels from 0"
            log.add(ProblemCode.VOC_STARTS_AT_ZERO, reason, line)
        left, top = left - 1, top - 1
    return size.normalised_box(left, top, right, bottom)


def _polygon_of_element(
    outline: Element, line: int, size: ImageSize, log: ProblemLog
) -> Polygon | None:
    """Read `polygon` with its children x1, y1, x2, y2, ..., or note why not."""
    points: list[Point] = []
    texts = {child.tag: child.text or "" for child in outline}
    while f"x{len(points) + 1}" in texts:
        number = len(points) + 1
        x, y = number_of(texts[f"x{number}"]), number_of(texts.get(f"y{number}", ""))
        if x is None or y is None:
            reason = f"point {number} of the polygon is not a pair of numbers"
            log.add(ProblemCode.COORD_NOT_NUMBER, reason, line)
            return None
        points.append(size.normalised_point(x, y))
    polygon = polygon_of(points)
    if polygon is None:
        reason = "the polygon has fewer than three different points"
        log.add(ProblemCode.POLYGON_TOO_FEW_POINTS, reason, line)
    return polygon


def _rows_of_label(label: Label, size: ImageSize, first_pixel: int) -> list[str]:
    """Describe one object in XML.

    Raises:
        InvalidInputError: VOC cannot hold its geometry.
    """
    geometry = label.geometry
    if isinstance(geometry, Polygon):
        box = box_around(geometry.points)
    elif isinstance(geometry, Box):
        box = geometry
    else:
        raise InvalidInputError(
            f"Pascal VOC files hold boxes and polygons, not a {type(geometry).__name__}"
        )
    left, top, right, bottom = size.pixel_edges(box)
    edges = {
        "xmin": left + first_pixel,
        "ymin": top + first_pixel,
        "xmax": right,
        "ymax": bottom,
    }
    rows = ["  <object>", f"    <name>{_xml_text(label.class_name)}</name>", "    <bndbox>"]
    rows += [f"      <{side}>{_xml_number(edge)}</{side}>" for side, edge in edges.items()]
    rows.append("    </bndbox>")
    if isinstance(geometry, Polygon):
        rows.append("    <polygon>")
        for number, point in enumerate(geometry.points, start=1):
            x, y = size.pixel_point(point)
            rows.append(f"      <x{number}>{_xml_number(x)}</x{number}>")
            rows.append(f"      <y{number}>{_xml_number(y)}</y{number}>")
        rows.append("    </polygon>")
    return [*rows, "  </object>"]


def _xml_number(value: float) -> str:
    """Write a number in pixels with at most `PIXEL_DECIMALS` decimals."""
    return repr(whole_number(round(value, PIXEL_DECIMALS)))


def _xml_text(text: str) -> str:
    """Escape a name for XML.

    Raises:
        InvalidInputError: it has control characters, which XML 1.0 cannot hold.
    """
    if any(character < " " and character not in "\t\n\r" for character in text):
        raise InvalidInputError(f"the name {text!r} has characters that XML cannot hold")
    return escape(text)
