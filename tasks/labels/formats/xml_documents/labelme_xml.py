"""The older LabelMe files of the web tool: one XML document an image, outlines in pixels."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from xml.etree.ElementTree import Element

from tasks.labels.annotations import Geometry, ImageLabels, Point
from tasks.labels.formats.label_file import ImageContext, ImageObjects, LabelFile
from tasks.labels.formats.xml_files import number_of, text_of
from tasks.labels.geometry import ImageSize, box_around, image_size_of, polygon_of
from tasks.labels.picture_sizes import fit_to_picture
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import ProblemLog, quoted


def is_labelme_xml(file: LabelFile) -> bool:
    """Whether the root is `annotation`, with outlines of `pt` or the size as `imagesize`."""
    document = file.xml(label_log())
    if document is None or document.root.tag != "annotation":
        return False
    return any(document.root.find(path) is not None for path in ("imagesize", "object/polygon/pt"))


def read_labelme_xml(file: LabelFile, context: ImageContext) -> ImageLabels:
    """Read the file of one image, by default the one that `filename` names.

    Objects have a `polygon` of points, which is a box where `type` is `bounding_box`, or else a
    `segm` with the `box` of a mask in a file of its own, which is not read: the box counts, and
    that is noted. Deleted objects do not count; parts, attributes and `occluded` are not read. The
    size of the context is used where the file has no usable `imagesize`.
    """
    source, log = file.path, label_log(file.path)
    document = file.xml(log)
    name = PureWindowsPath(text_of(document.root, "filename")).name if document else ""
    image = context.image or (PurePosixPath(name) if name else source.with_suffix(""))
    if document is None:
        return ImageLabels(image, source, (), log.entries())
    root = document.root
    width, height = (number_of(text_of(root, f"imagesize/{side}")) for side in ("ncols", "nrows"))
    written = image_size_of(width, height)
    size = written or context.find_size()
    objects = ImageObjects(image, source, size)
    objects.log.extend(log)
    found = [one for one in root.iterfind("object") if text_of(one, "deleted") not in ("1", "yes")]
    if size is None and found:
        reason = "no usable imagesize/ncols and imagesize/nrows"
        objects.log.add(ProblemCode.IMAGE_SIZE_MISSING, reason)
    for element in found if size is not None else ():
        line = document.lines[element]
        class_name = text_of(element, "name")
        if not class_name:
            objects.log.add(ProblemCode.CLASS_UNKNOWN, "the object has no name", line)
            continue
        assert size is not None
        geometry = _geometry(element, size, objects.log, line)
        if geometry is not None:
            objects.add(class_name, [geometry], "the object", line=line)
    return fit_to_picture(objects.result(), written, context.find_size)


def _geometry(element: Element, size: ImageSize, log: ProblemLog, line: int) -> Geometry | None:
    """Make the geometry of an object, or note why not."""
    outline = element.find("polygon")
    if outline is not None:
        points: list[Point] = []
        for count, point in enumerate(outline.iterfind("pt"), start=1):
            x, y = number_of(text_of(point, "x")), number_of(text_of(point, "y"))
            if x is None or y is None:
                reason = f"point {count} of the polygon is not a pair of numbers"
                log.add(ProblemCode.COORD_NOT_NUMBER, reason, line)
                return None
            points.append(size.normalised_point(x, y))
        if text_of(element, "type") == "bounding_box" and len(points) >= 2:
            return box_around(points)
        polygon = polygon_of(points)
        if polygon is None:
            reason = "the polygon has fewer than three different points"
            log.add(ProblemCode.POLYGON_TOO_FEW_POINTS, reason, line)
        return polygon
    sides = [text_of(element, f"segm/box/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    if element.find("segm/box") is None:
        log.add(ProblemCode.SHAPE_UNSUPPORTED, "the object has no polygon", line)
        return None
    edges = [number for side in sides if (number := number_of(side)) is not None]
    if len(edges) < len(sides):
        log.add(ProblemCode.COORD_NOT_NUMBER, f"the box has the sides {quoted(sides)}", line)
        return None
    log.add(ProblemCode.MASK_UNREADABLE, "the mask is in a file of its own; its box is read", line)
    return size.normalised_box(*edges)
