"""COCO files: one JSON document for many images, shapes in pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from tasks.labels.annotations import Box, Geometry, Polygon
from tasks.labels.annotations import Keypoints as KeypointsGeometry
from tasks.labels.formats.class_files import class_id_of, class_name_of
from tasks.labels.formats.label_file import (
    NOTHING_MORE,
    ImageObjects,
    LabelFile,
    SharedContext,
    SharedLabels,
)
from tasks.labels.formats.mask_pictures.masks import MaskError, decode_run_lengths, polygons_of_mask
from tasks.labels.formats.mask_pictures.segments import SegmentPicture
from tasks.labels.geometry import (
    SIZE_TOLERANCE,
    ImageSize,
    finite_number,
    image_size_of,
    keypoints_of,
    pairs_of_numbers,
    polygon_of,
)
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import ProblemLog, quoted


def is_coco(file: LabelFile) -> bool:
    """Whether a document has `images`, with `annotations` or `categories`."""
    document = file.json(label_log())
    return (
        isinstance(document, dict)
        and isinstance(document.get("images"), list)
        and any(isinstance(document.get(key), list) for key in ("annotations", "categories"))
    )


def read_coco(file: LabelFile, context: SharedContext = NOTHING_MORE) -> SharedLabels:
    """Read a COCO file.

    The most detailed geometry of an annotation counts: keypoints (with the outline), else the
    segmentation, else the box. Keypoints that are all unlabelled do not count. An object of several
    polygons becomes several labels with the same `instance`. Run lengths, compressed or not, become
    the outlines of their parts along the pixel edges; holes are filled and noted. An outline that
    cannot be read is noted, and the box is used. Category ids may begin anywhere. The segments of a
    panoptic file have the outlines of their PNG, else their boxes. What has `ignore` is a crowd as
    what has `iscrowd`. Captions are no labels: a file of nothing else, and a list of images without
    `annotations`, have no images.
    """
    source = file.path
    log = label_log(source)
    document = file.json(log)
    if not isinstance(document, dict) or not is_coco(file):
        if not log.entries():
            log.add(ProblemCode.JSON_UNKNOWN_FORMAT, "not a COCO document")
        return SharedLabels(problems=log.entries())
    names = _names_of_categories(document.get("categories"), log)
    annotations = document.get("annotations")
    if not isinstance(annotations, list) or (annotations and all(map(_is_caption, annotations))):
        return SharedLabels(class_names=names, problems=log.entries())
    images = _images_by_id(document["images"], source, log)
    is_panoptic, without_outline = False, 0
    for position, entry in enumerate(annotations, start=1):
        if _is_caption(entry):
            continue
        image_id = entry.get("image_id") if isinstance(entry, dict) else None
        image = images.get(_key_of_image(image_id) or "")
        if image is None:
            reason = (
                f"annotation {position} is of the image {quoted(image_id)}, which is not listed"
            )
            log.add(ProblemCode.IMAGE_UNKNOWN, reason)
            continue
        segments = entry.get("segments_info")
        is_panoptic |= isinstance(segments, list)
        if isinstance(segments, list):
            where = f"annotation {position}"
            without_outline += _add_segments(entry, segments, where, image, names, context)
        else:
            _add_annotation(entry, f"annotation {position}", image, names)
    if without_outline:
        reason = (
            f"{without_outline} segments have no pixels in a PNG of the folder "
            f"{file.path.stem}: their boxes are used"
        )
        log.add(ProblemCode.OUTLINE_UNUSABLE, reason, count=without_outline)
    results = tuple(image.result() for image in images.values())
    sizes = {image.image: image.size for image in images.values() if image.size is not None}
    return SharedLabels(
        results, sizes, names, log.entries(), has_pixels=True, is_panoptic=is_panoptic
    )


def _add_segments(
    entry: Mapping[str, object],
    segments: list[object],
    where: str,
    image: ImageObjects,
    names: Mapping[int, str],
    context: SharedContext,
) -> int:
    """Add the segments of one image; returned is how many have only their box."""
    name, picture = entry.get("file_name"), None
    content = context.read_segments(name) if isinstance(name, str) else None
    if content is not None:
        try:
            picture = SegmentPicture(content)
        except MaskError as error:
            reason = f"the segments of {where} cannot be read: {error}"
            image.log.add(ProblemCode.MASK_UNREADABLE, reason)
    without_outline = 0
    for number, segment in enumerate(segments, start=1):
        if not isinstance(segment, dict):
            reason = f"segment {number} of {where} is {quoted(segment)}, not an object"
            image.log.add(ProblemCode.OBJECT_MALFORMED, reason)
            continue
        own = f"segment {number} of {where}"
        outlines = picture.polygons(segment.get("id"), image.log, own) if picture else []
        without_outline += not outlines
        # These ids are colours in a picture, not the ids of annotations.
        _add_annotation({**segment, "id": None}, own, image, names, outlines)
    return without_outline


def _is_caption(entry: object) -> bool:
    """Whether an annotation is a sentence about the image."""
    return isinstance(entry, dict) and "caption" in entry and "category_id" not in entry


def _key_of_image(value: object) -> str | None:
    """The id of an image (or an annotation) as text: 2, 2.0 and "2" are the same; else None."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    # Python refuses to write enormous integers.
    return value if isinstance(value, str) else f"{value:x}" if abs(value) > 1 << 64 else str(value)


def _names_of_categories(value: object, log: ProblemLog) -> dict[int, str]:
    """Read the categories: names by id."""
    names: dict[int, str] = {}
    for entry in value if isinstance(value, list) else []:
        class_id = class_id_of(entry.get("id")) if isinstance(entry, dict) else None
        name = entry.get("name") if isinstance(entry, dict) else None
        if class_id is None or not isinstance(name, str) or not name.strip():
            log.add(ProblemCode.CLASS_NAME_INVALID, "a category without a usable id and name")
        elif names.setdefault(class_id, name.strip()) != name.strip():
            reason = f"class {class_id} is {quoted(names[class_id])} and {quoted(name)} in one file"
            log.add(ProblemCode.CLASS_NAMES_DIFFER, reason)
    return dict(sorted(names.items()))


def _images_by_id(
    entries: list[object], source: PurePosixPath, log: ProblemLog
) -> dict[str, ImageObjects]:
    """Read the list of images; ids are whole numbers, or texts in some exports."""
    images: dict[str, ImageObjects] = {}
    for position, entry in enumerate(entries, start=1):
        name = entry.get("file_name") if isinstance(entry, dict) else None
        written = entry.get("id") if isinstance(entry, dict) else None
        image_id = _key_of_image(written)
        if not isinstance(entry, dict) or not isinstance(name, str) or not name.strip():
            log.add(ProblemCode.OBJECT_MALFORMED, f"image {position} has no file_name")
        elif image_id is None:
            log.add(ProblemCode.OBJECT_MALFORMED, f"image {position} has the id {quoted(written)}")
        elif image_id in images:
            log.add(ProblemCode.OBJECT_MALFORMED, f"the image id {quoted(image_id)} occurs twice")
        else:
            size = image_size_of(entry.get("width"), entry.get("height"))
            path = PurePosixPath(name.strip().replace("\\", "/"))
            images[image_id] = ImageObjects(path, source, size)
    return images


def _add_annotation(
    entry: Mapping[str, object],
    where: str,
    image: ImageObjects,
    names: Mapping[int, str],
    outlines: Sequence[Geometry] = (),
) -> None:
    """Add the labels of one annotation, whose outlines may be known; none where it is unusable."""
    log = image.log
    class_id = class_id_of(entry.get("category_id"))
    if class_id is None:
        log.add(
            ProblemCode.CLASS_UNKNOWN,
            f"{where} has the category_id {quoted(entry.get('category_id'))}",
        )
        return
    if image.size is None:
        log.add(ProblemCode.IMAGE_SIZE_MISSING, f"the image of {where} has no width and height")
        return
    if names and class_id not in names:
        log.add(ProblemCode.CLASS_OUT_OF_RANGE, f"{where} has class {class_id}, which has no name")
    image.add(
        class_name_of(names, class_id),
        outlines or _geometries_of_annotation(entry, where, image.size, log),
        where,
        class_id=class_id,
        is_crowd=any(map(_is_one, (entry.get("iscrowd"), entry.get("ignore")))),
        annotation_id=_key_of_image(entry.get("id")),
    )


def _is_one(value: object) -> bool:
    """Whether a mark is set."""
    return value is True or class_id_of(value) == 1


def _geometries_of_annotation(
    entry: Mapping[str, object], where: str, size: ImageSize, log: ProblemLog
) -> list[Geometry]:
    """Return the most detailed geometry of an annotation, in its parts."""
    box = _box_of_annotation(entry.get("bbox"), where, size, log)
    outlines = _outlines_of_annotation(entry.get("segmentation"), where, size, log, box)
    keypoints = entry.get("keypoints")
    if isinstance(keypoints, list) and any(keypoints):
        values = [finite_number(value) for value in keypoints]
        checked = [value for value in values if value is not None]
        if len(checked) == len(values) and len(values) % 3 == 0 and box is not None:
            for start in range(0, len(checked), 3):
                x, y = size.normalised_point(checked[start], checked[start + 1])
                checked[start : start + 2] = (x, y)
            return [KeypointsGeometry(box, keypoints_of(checked, 3, log, where), outlines)]
        log.add(
            ProblemCode.OBJECT_MALFORMED, f"the keypoints of {where} are not triples with a bbox"
        )
    if outlines:
        return list(outlines)
    if box is None:
        if not entry.get("segmentation"):
            log.add(ProblemCode.OBJECT_MALFORMED, f"{where} has no bbox and no segmentation")
        return []
    if -SIZE_TOLERANCE <= min(box.width, box.height) <= 0:
        log.add(ProblemCode.BOX_ZERO_AREA, f"{where} has no area; it is left out")
        return []
    return [box]


def _box_of_annotation(edges: object, where: str, size: ImageSize, log: ProblemLog) -> Box | None:
    """Read `bbox`: left, top, width and height in pixels; an empty list is as good as none."""
    if edges is None or edges == []:
        return None
    numbers = [finite_number(edge) for edge in edges] if isinstance(edges, list) else []
    checked = [number for number in numbers if number is not None]
    if not len(numbers) == len(checked) == 4:
        log.add(ProblemCode.COORD_NOT_NUMBER, f"the bbox of {where} is not four numbers")
        return None
    left, top, width, height = checked
    return size.normalised_box(left, top, left + width, top + height)


def _outlines_of_annotation(
    segmentation: object, where: str, size: ImageSize, log: ProblemLog, box: Box | None
) -> tuple[Polygon, ...]:
    """Read `segmentation`; where nothing of it can be used, this is said once."""
    own = label_log(log.place)
    polygons: list[Polygon] = []
    if isinstance(segmentation, dict):
        polygons = _polygons_of_mask(segmentation, where, own)
    elif isinstance(segmentation, list) and segmentation:
        polygons = _polygons_of_parts(segmentation, where, size, own)
    if box is None or polygons or not own.entries():
        log.extend(own)
    else:
        reason = f"the outline of {where} cannot be used ({own.entries()[0].reason}): its bbox is"
        log.add(ProblemCode.OUTLINE_UNUSABLE, reason)
    return tuple(polygons)


def _polygons_of_parts(
    parts: list[object], where: str, size: ImageSize, log: ProblemLog
) -> list[Polygon]:
    """Make the polygons of a segmentation, each [x1, y1, x2, y2, ...] in pixels."""
    # One flat list instead of a list of lists is a common mistake of exporters.
    if not any(isinstance(part, (list, dict)) for part in parts):
        parts = [parts]
    polygons = []
    for part in parts:
        points = pairs_of_numbers(part)
        if points is None:
            log.add(ProblemCode.COORD_NOT_NUMBER, f"a part of {where} is not pairs of numbers")
            continue
        polygon = polygon_of([size.normalised_point(*point) for point in points])
        if polygon is None:
            reason = f"a part of {where} has fewer than three different points"
            log.add(ProblemCode.POLYGON_TOO_FEW_POINTS, reason)
        else:
            polygons.append(polygon)
    return polygons


def _polygons_of_mask(
    segmentation: Mapping[str, object], where: str, log: ProblemLog
) -> list[Polygon]:
    """Make polygons of the outlines of a mask in run lengths."""
    shape = segmentation.get("size")
    # A mask of another size than the image is stretched over it.
    if not isinstance(shape, list) or len(shape) != 2 or any(type(n) is not int for n in shape):
        log.add(ProblemCode.MASK_UNREADABLE, f"the mask of {where} has no size")
        return []
    try:
        mask = decode_run_lengths(segmentation.get("counts"), shape[0], shape[1])
    except MaskError as error:
        log.add(ProblemCode.MASK_UNREADABLE, f"the mask of {where} cannot be read: {error}")
        return []
    return polygons_of_mask(mask, ImageSize(shape[1], shape[0]), log, where)
