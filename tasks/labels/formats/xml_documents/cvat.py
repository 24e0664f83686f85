"""CVAT's XML 1.1: one document for many images, or for the frames of a video; pixels from 0."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element

from tasks.labels.annotations import Geometry, Keypoint, Keypoints, Point
from tasks.labels.formats.label_file import (
    NOTHING_MORE,
    ImageObjects,
    LabelFile,
    SharedContext,
    SharedLabels,
)
from tasks.labels.formats.mask_pictures.masks import MaskError, mask_of_runs, polygons_of_mask
from tasks.labels.formats.xml_files import XmlDocument, number_of, text_of
from tasks.labels.geometry import (
    ImageSize,
    box_around,
    corners_of,
    image_size_of,
    oriented_box_of,
    outline_of_ellipse,
    polygon_of,
    turned,
)
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import ProblemLog, quoted

# What an image or track has besides shapes.
_NO_SHAPES = frozenset({"attribute", "metadata"})


def is_cvat(file: LabelFile) -> bool:
    """Whether the root is `annotations` with images, tracks, or what CVAT says of its task."""
    document = file.xml(label_log())
    return (
        document is not None
        and document.root.tag == "annotations"
        and any(
            document.root.find(tag) is not None
            for tag in ("image", "track", "meta/task", "meta/job")
        )
    )


def read_cvat(file: LabelFile, _context: SharedContext = NOTHING_MORE) -> SharedLabels:
    """Read a CVAT file, for images or for video.

    `box` (an oriented box where it has a `rotation`), `polygon`, `ellipse` (a polygon of
    `ELLIPSE_CORNERS` corners), `mask` (the outlines of its parts), `points` and `skeleton` (both
    keypoints), and `tag` (the class of the whole image) are read; `polyline` and `cuboid` are noted
    and left out. Of tracks every shape counts that is written, for its frame: nothing is put
    between keyframes. `outside` leaves a shape out, or makes a point of a skeleton unlabelled;
    `occluded` points are hidden (visibility 1), other occluded shapes and attributes are not told
    apart. Classes have the order of the file's `labels`.
    """
    log = label_log(file.path)
    document = file.xml(log)
    if document is None or document.root.tag != "annotations":
        if document is not None:
            reason = f"the root is {quoted(document.root.tag)}, not annotations"
            log.add(ProblemCode.XML_UNREADABLE, reason)
        return SharedLabels(problems=log.entries())
    reader = _CvatReader(file.path, document, log)
    images = list(reader.images())
    frames = reader.frames()
    every = (*images, *(image for image, _ in frames))
    return SharedLabels(
        tuple(image.result() for image in every),
        {image.image: image.size for image in every if image.size is not None},
        problems=log.entries(),
        ordered_classes=reader.classes,
        frames={image.image: number for image, number in frames},
        has_pixels=True,
    )


class _CvatReader:
    """Reads the shapes of one document."""

    def __init__(self, source: PurePosixPath, document: XmlDocument, log: ProblemLog) -> None:
        self._source, self._log = source, log
        self._root, self._lines = document.root, document.lines
        labels = list(self._root.iterfind("meta/*/labels/label"))
        self.classes = tuple(text_of(one, "name") for one in labels if not text_of(one, "parent"))
        # In the order of a skeleton's points.
        self._points_of_class: dict[str, list[str]] = {}
        for one in labels:
            self._points_of_class.setdefault(text_of(one, "parent"), []).append(
                text_of(one, "name")
            )

    def images(self) -> Iterator[ImageObjects]:
        """Read the images in the order of the file."""
        for position, element in enumerate(self._root.iterfind("image"), start=1):
            name = element.get("name", "").strip().replace("\\", "/")
            if not name:
                reason = f"image {position} has no name"
                self._log.add(ProblemCode.OBJECT_MALFORMED, reason, self._lines[element])
                continue
            size = _size_of(element.get("width"), element.get("height"))
            image = ImageObjects(PurePosixPath(name), self._source, size)
            for shape in element:
                self._add(shape, shape.get("label"), image)
            yield image

    def frames(self) -> list[tuple[ImageObjects, int]]:
        """Read the tracks; there is an image for each frame that is written, with its number."""
        size = next(
            (
                _size_of(text_of(one, "width"), text_of(one, "height"))
                for one in self._root.iterfind("meta/*/original_size")
            ),
            None,
        )
        frames: dict[int, ImageObjects] = {}
        for track in self._root.iterfind("track"):
            for shape in track:
                number = number_of(shape.get("frame"))
                if shape.tag in _NO_SHAPES:
                    continue
                if number is None or number < 0 or number != int(number):
                    reason = f"a {shape.tag} of the frame {quoted(shape.get('frame'))}"
                    self._log.add(ProblemCode.OBJECT_MALFORMED, reason, self._lines[shape])
                    continue
                name = PurePosixPath(f"frame_{int(number):06d}")
                image = frames.setdefault(int(number), ImageObjects(name, self._source, size))
                if shape.get("outside") != "1":
                    self._add(shape, track.get("label"), image)
        return [(image, number) for number, image in sorted(frames.items())]

    def _add(self, shape: Element, name: str | None, image: ImageObjects) -> None:
        """Add one shape to the labels of its image, or note why not."""
        line, log = self._lines[shape], image.log
        where = f"the {shape.tag}"
        if shape.tag in _NO_SHAPES:
            return
        if name is None or not name.strip():
            log.add(ProblemCode.CLASS_UNKNOWN, f"{where} has no label", line)
            return
        name = name.strip()
        if shape.tag == "tag":
            image.add_class(name, line=line)
            return
        if image.size is None:
            reason = f"the image of {where} has no width and height"
            log.add(ProblemCode.IMAGE_SIZE_MISSING, reason, line)
            return
        try:
            geometries = self._geometries(shape, name, image.size, log)
        except _ValueOfShapeError as error:
            log.add(ProblemCode.COORD_NOT_NUMBER, f"{where} has {error}", line)
        except MaskError as error:
            log.add(ProblemCode.MASK_UNREADABLE, f"the mask cannot be read: {error}", line)
        else:
            image.add(name, geometries, where, line=line)

    def _geometries(
        self, shape: Element, name: str, size: ImageSize, log: ProblemLog
    ) -> list[Geometry]:
        """Make the geometry of a shape, in its parts; none, noted, where that is impossible.

        Raises:
            MaskError: it is a mask that cannot be read.
            _ValueOfShapeError: a value is missing or no number.
        """
        line = self._lines[shape]
        match shape.tag:
            case "box":
                left, top, right, bottom = _values(shape, "xtl", "ytl", "xbr", "ybr")
                (degrees,) = _values(shape, "rotation") if shape.get("rotation") else (0.0,)
                if not degrees % 360:
                    return [size.normalised_box(left, top, right, bottom)]
                center = ((left + right) / 2, (top + bottom) / 2)
                corners = turned(corners_of(left, top, right, bottom), center, degrees)
                oriented = oriented_box_of([size.normalised_point(*point) for point in corners])
                return [oriented] if oriented is not None else []
            case "polygon" | "ellipse":
                polygon = polygon_of([size.normalised_point(*one) for one in _outline(shape)])
                if polygon is not None:
                    return [polygon]
                reason = f"the {shape.tag} has fewer than three different points"
                log.add(ProblemCode.POLYGON_TOO_FEW_POINTS, reason, line)
            case "points":
                visibility = 1 if shape.get("occluded") == "1" else 2
                return _keypoints([(one, visibility) for one in _points(shape)], size)
            case "skeleton":
                return _keypoints(self._points_of_skeleton(shape, name), size)
            case "mask":
                left, top, width, height = map(
                    int, _values(shape, "left", "top", "width", "height")
                )
                mask = mask_of_runs(_runs(shape), height, width)
                polygons = polygons_of_mask(
                    mask, size, log, "the label", line=line, corner=(left, top)
                )
                return list(polygons)
            case _:
                log.add(ProblemCode.SHAPE_UNSUPPORTED, f"a {shape.tag}", line)
        return []

    def _points_of_skeleton(self, shape: Element, name: str) -> list[tuple[Point | None, int]]:
        """Read the points of a skeleton in the order of its class, with their visibility."""
        found: dict[str, tuple[Point | None, int]] = dict.fromkeys(
            self._points_of_class.get(name, []), (None, 0)
        )
        for element in shape.iterfind("points"):
            points = _points(element)
            is_outside = element.get("outside") == "1"
            visibility = 0 if is_outside else 1 if element.get("occluded") == "1" else 2
            found[element.get("label", "")] = (points[0], visibility)
        return list(found.values())


class _ValueOfShapeError(ValueError):
    """A value of a shape is missing or no number."""


def _values(shape: Element, *names: str) -> list[float]:
    """Read numbers from attributes."""
    values = []
    for name in names:
        number = number_of(shape.get(name))
        if number is None:
            raise _ValueOfShapeError(f"the {name} {quoted(shape.get(name))}")
        values.append(number)
    return values


def _points(shape: Element) -> list[Point]:
    """Read points, written `x,y;x,y`; at least one."""
    points: list[Point] = []
    for written in (shape.get("points") or "").split(";"):
        x, _, y = written.partition(",")
        left, top = number_of(x), number_of(y)
        if left is None or top is None:
            raise _ValueOfShapeError(f"the point {quoted(written)}")
        points.append((left, top))
    return points


def _outline(shape: Element) -> list[Point]:
    """The points of a polygon or an ellipse."""
    if shape.tag == "polygon":
        return _points(shape)
    x, y, radius_x, radius_y = _values(shape, "cx", "cy", "rx", "ry")
    (degrees,) = _values(shape, "rotation") if shape.get("rotation") else (0.0,)
    return outline_of_ellipse((x, y), radius_x, radius_y, degrees)


def _runs(shape: Element) -> list[int]:
    """Read the run lengths of a mask, row by row, beginning with 0."""
    try:
        return [int(run) for run in (shape.get("rle") or "").split(",")]
    except ValueError:
        raise MaskError("the run lengths are not whole numbers") from None


def _keypoints(points: list[tuple[Point | None, int]], size: ImageSize) -> list[Geometry]:
    """Make keypoints with the box around those that are labelled; none where there are none."""
    seen = [size.normalised_point(*point) for point, visibility in points if point and visibility]
    if not seen:
        return []
    placed = (
        Keypoint(*(size.normalised_point(*point) if point else (0.0, 0.0)), visibility)
        for point, visibility in points
    )
    return [Keypoints(box_around(seen), tuple(placed))]


def _size_of(width: str | None, height: str | None) -> ImageSize | None:
    return image_size_of(number_of(width), number_of(height))
