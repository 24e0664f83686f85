"""Label Studio's JSON (whole and minimal): tasks with regions in percent of their images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from tasks.labels.annotations import Box, Geometry, Keypoint, Keypoints, Point
from tasks.labels.formats.label_file import (
    NOTHING_MORE,
    ImageObjects,
    LabelFile,
    SharedContext,
    SharedLabels,
)
from tasks.labels.formats.mask_pictures.brush import decode_brush
from tasks.labels.formats.mask_pictures.masks import MaskError, polygons_of_mask
from tasks.labels.geometry import (
    ImageSize,
    corners_of,
    finite_number,
    image_size_of,
    oriented_box_of,
    outline_of_ellipse,
    pairs_of_numbers,
    polygon_of,
    turned,
)
from tasks.labels.picture_sizes import choose_size
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import ProblemLog, quoted

_Region = Mapping[str, object]
# Where a value has its class, by the tool that drew it.
_LABEL_KEYS = (
    *("rectanglelabels", "polygonlabels", "brushlabels", "keypointlabels", "ellipselabels"),
    "labels",
)
# What regions say besides where something is.
_NO_SHAPES = frozenset({"relation", "textarea", "rating", "number", "taxonomy", "datetime"})


def is_label_studio(file: LabelFile) -> bool:
    """Whether a document is a list of tasks with annotations, or of images with regions."""
    document = file.json(label_log())
    if not isinstance(document, list) or not document or not isinstance(document[0], dict):
        return False
    first = document[0]
    if isinstance(first.get("data"), dict):
        return any(isinstance(first.get(key), list) for key in ("annotations", "completions"))
    return any(map(_is_list_of_regions, first.values()))


def read_label_studio(file: LabelFile, context: SharedContext = NOTHING_MORE) -> SharedLabels:
    """Read the annotations of all tasks.

    Rectangles (oriented boxes where they have a `rotation`), polygons, brushes (the outlines of
    their parts), ellipses, and keypoints are read: keypoints whose parent is a rectangle are those
    of one object, in the order in which the file first has their names; another is an object of its
    own. Of several annotations of a task the newest counts, which is noted; skipped ones and
    predictions are no labels, and a task without annotations is not labelled. Choices for whole
    images, videos and texts are noted and left out.
    """
    log = label_log(file.path)
    document = file.json(log)
    images: list[ImageObjects] = []
    sizes: dict[PurePosixPath, ImageSize] = {}
    for position, task in enumerate(document if isinstance(document, list) else [], start=1):
        where = f"task {position}"
        regions = _regions_of(task, where, log)
        if regions is None:
            continue
        name = _image_of(task)
        if name is None:
            log.add(ProblemCode.OBJECT_MALFORMED, f"{where} names no image")
            continue
        written = next((found for one in regions if (found := _size_of(one))), None)
        image = ImageObjects(name, file.path, written)
        if written is not None:
            sizes[name] = written
            # Percent are of any size: only what is turned, and brushes, need the sides.
            picture = context.look_up_size(name) if regions else None
            image.size = choose_size(written, picture, (0, 0), image.log, trusts_written=True)
        _Regions(regions, where, image).add_all()
        images.append(image)
    return SharedLabels(tuple(image.result() for image in images), sizes, problems=log.entries())


def _is_list_of_regions(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and "original_width" in one for one in value)
    )


def _regions_of(task: object, where: str, log: ProblemLog) -> list[_Region] | None:
    """The regions of the annotation that counts; None where nobody has labelled the image."""
    if not isinstance(task, dict):
        log.add(ProblemCode.OBJECT_MALFORMED, f"{where} is {quoted(task)}, not an object")
        return None
    if not isinstance(task.get("data"), dict):
        # The minimal form has the values themselves.
        lists = [value for value in task.values() if _is_list_of_regions(value)]
        return [{**one, "value": one} for value in lists for one in value]
    annotations = task.get("annotations", task.get("completions"))
    made = [
        one
        for one in (annotations if isinstance(annotations, list) else [])
        if isinstance(one, dict)
        and isinstance(one.get("result"), list)
        and not (one.get("was_cancelled") or one.get("skipped"))
    ]
    if not made:
        return None
    if len(made) > 1:
        reason = f"{where} has {len(made)} annotations; the newest counts"
        log.add(ProblemCode.LABEL_FILE_SHADOWED, reason)
    newest = max(made, key=lambda one: str(one.get("created_at", "")))
    return [one for one in newest["result"] if isinstance(one, dict)]


def _image_of(task: Mapping[str, object]) -> PurePosixPath | None:
    """The path of a task's image: that of a link, a bucket, a storage, or an upload."""
    data = task.get("data")
    values = data if isinstance(data, dict) else task
    texts = [value for value in values.values() if isinstance(value, str)]
    written = next(
        (value for key in ("image", "img", "ocr") if isinstance(value := values.get(key), str)),
        next((text for text in texts if "/" in text or "." in text), None),
    )
    if written is None:
        return None
    parts = urlsplit(written.replace("\\", "/"))
    stored = parse_qs(parts.query).get("d")
    path = (stored[0] if stored else unquote(parts.path)).lstrip("/")
    return PurePosixPath(path) if path else None


def _size_of(region: _Region) -> ImageSize | None:
    return image_size_of(region.get("original_width"), region.get("original_height"))


class _Regions:
    """Turns the regions of one image into its labels."""

    def __init__(self, regions: Sequence[_Region], where: str, image: ImageObjects) -> None:
        self._regions, self._where, self._image = regions, where, image
        # What is drawn and what names it may be two entries with one id, both with the place.
        self._named = {
            str(one["id"]) for one in regions if one.get("id") is not None and _class_of(one)
        }
        self._points: dict[str, dict[str, Point]] = {}
        rectangles = {str(one.get("id")) for one in regions if _is_rectangle(_value_of(one))}
        names: dict[str, None] = {}
        for one in regions:
            parent, point = str(one.get("parentID")), _place_of(_value_of(one))
            if parent in rectangles and _is_point(_value_of(one)) and point is not None:
                name = _class_of(one) or ""
                names[name] = None
                self._points.setdefault(parent, {})[name] = point
        self._order = list(names)

    def add_all(self) -> None:
        """Add every region in its order, or note why not."""
        log = self._image.log
        for position, region in enumerate(self._regions, start=1):
            where = f"region {position} of {self._where}"
            value = _value_of(region)
            name = _class_of(region)
            kind = region.get("type", "region")
            is_no_shape = isinstance(kind, str) and kind in _NO_SHAPES
            is_named_point = str(region.get("parentID")) in self._points and _is_point(value)
            if is_no_shape or is_named_point:
                continue
            if name is None:
                if str(region.get("id")) in self._named:
                    continue
                is_choice = "choices" in value
                code = ProblemCode.SHAPE_UNSUPPORTED if is_choice else ProblemCode.CLASS_UNKNOWN
                log.add(code, f"{where}, {quoted(kind)}, has no label")
                continue
            try:
                geometries = list(self._geometries(value, str(region.get("id")), where, region))
            except MaskError as error:
                log.add(ProblemCode.MASK_UNREADABLE, f"the mask of {where} cannot be read: {error}")
            except _NoNumberError as error:
                log.add(ProblemCode.COORD_NOT_NUMBER, f"{where} has {error}")
            else:
                self._image.add(name, geometries, where)

    def _geometries(
        self, value: _Region, region_id: str, where: str, region: _Region
    ) -> Iterator[Geometry]:
        """Yield the geometry of a region, in its parts; nothing, noted, where that is impossible.

        Raises:
            MaskError: it is a mask that cannot be read.
            _NoNumberError: a value is no number.
        """
        log, size = self._image.log, self._image.size
        if "rle" in value:
            width, height = region.get("original_width"), region.get("original_height")
            if not isinstance(width, int) or not isinstance(height, int):
                raise MaskError("its image has no width and height")
            if size == ImageSize(height, width):
                width, height = height, width  # as before EXIF turns it
            mask = decode_brush(value["rle"], height, width)
            yield from polygons_of_mask(mask, ImageSize(width, height), log, where)
        elif "points" in value:
            points = pairs_of_numbers(value["points"])
            if points is None:
                raise _NoNumberError("points that are not pairs of numbers")
            polygon = polygon_of([(x / 100, y / 100) for x, y in points])
            if polygon is None:
                reason = f"{where} is an outline of fewer than three different points"
                log.add(ProblemCode.POLYGON_TOO_FEW_POINTS, reason)
            else:
                yield polygon
        elif _is_rectangle(value) or "radiusX" in value:
            yield from self._turnable(value, region_id, size, where)
        elif (point := _place_of(value)) is not None:
            yield Keypoints(Box(*point, 0, 0), (Keypoint(*point, 2),))
        else:
            log.add(ProblemCode.SHAPE_UNSUPPORTED, f"{where} is {quoted(region.get('type'))}")

    def _turnable(
        self, value: _Region, region_id: str, size: ImageSize | None, where: str
    ) -> Iterator[Geometry]:
        """Yield a rectangle, turned around its corner, or an ellipse, around its centre.

        Raises:
            _NoNumberError: a value is no number.
        """
        (degrees,) = _numbers(value, "rotation") if value.get("rotation") else (0.0,)
        if size is None and degrees % 360:
            reason = f"{where} is turned, and its image has no width and height"
            self._image.log.add(ProblemCode.IMAGE_SIZE_MISSING, reason)
            return
        # What is not turned needs no other unit than percent.
        frame = size or ImageSize(100, 100)
        sides = ("width", "height") if _is_rectangle(value) else ("radiusX", "radiusY")
        x, y, width, height = _numbers(value, "x", "y", *sides)
        x, width = (one / 100 * frame.width for one in (x, width))
        y, height = (one / 100 * frame.height for one in (y, height))
        if not _is_rectangle(value):
            points = outline_of_ellipse((x, y), width, height, degrees)
            polygon = polygon_of([frame.normalised_point(*point) for point in points])
            yield from [polygon] if polygon else []
            return
        box = frame.normalised_box(x, y, x + width, y + height)
        named = self._points.get(region_id)
        if named is not None:
            placed = [(named.get(name), 2 if name in named else 0) for name in self._order]
            yield Keypoints(box, tuple(Keypoint(*(at or (0.0, 0.0)), seen) for at, seen in placed))
        elif degrees % 360:
            corners = turned(corners_of(x, y, x + width, y + height), (x, y), degrees)
            oriented = oriented_box_of([frame.normalised_point(*point) for point in corners])
            yield from [oriented] if oriented else []
        else:
            yield box


class _NoNumberError(ValueError):
    """A value of a region is no number."""


def _numbers(value: _Region, *names: str) -> list[float]:
    """Take numbers from a value."""
    numbers = []
    for name in names:
        number = finite_number(value.get(name))
        if number is None:
            raise _NoNumberError(f"the {name} {quoted(value.get(name))}")
        numbers.append(number)
    return numbers


def _value_of(region: _Region) -> _Region:
    value = region.get("value")
    return value if isinstance(value, dict) else {}


def _is_rectangle(value: _Region) -> bool:
    return "width" in value and "height" in value and "rle" not in value


def _is_point(value: _Region) -> bool:
    return not any(key in value for key in ("height", "points", "rle", "radiusX"))


def _place_of(value: _Region) -> Point | None:
    """Where a keypoint lies, normalised."""
    x, y = finite_number(value.get("x")), finite_number(value.get("y"))
    return None if x is None or y is None else (x / 100, y / 100)


def _class_of(region: _Region) -> str | None:
    """The first class that a region has."""
    value = _value_of(region)
    for key in _LABEL_KEYS:
        names = value.get(key)
        name = names[0] if isinstance(names, list) and names else None
        if isinstance(name, str) and name.strip():
            return name.strip()
    return None
