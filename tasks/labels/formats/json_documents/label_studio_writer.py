"""Writing Label Studio tasks with predictions, which people correct there and export again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from storage.errors import InvalidInputError
from tasks.labels.annotations import Box, Geometry, GeometryKind, Label, OrientedBox, Polygon
from tasks.labels.geometry import ImageSize, whole_number

# The form in which Label Studio names a file below its LOCAL_FILES_DOCUMENT_ROOT.
_LOCAL_FILE = "/data/local-files/?d="
# Percent to a hundred-millionth: as fine as the pixels of the other writers.
_DECIMALS = 8
_TAGS = {"rectanglelabels": "RectangleLabels", "polygonlabels": "PolygonLabels"}


def write_label_studio_task(
    labels: Sequence[Label],
    scores: Sequence[float],
    *,
    image: PurePosixPath,
    image_size: ImageSize,
    model_version: str,
) -> bytes:
    """Write the task of one image, its labels a prediction with `scores` (0..1, as many).

    Tasks in a JSON list are what Label Studio imports. Each label is a region of its own, so that
    the parts of one object become several.

    Raises:
        InvalidInputError: a label has keypoints.
    """
    size = {
        "original_width": whole_number(image_size.width),
        "original_height": whole_number(image_size.height),
    }
    result = []
    for number, (label, score) in enumerate(zip(labels, scores, strict=True), start=1):
        kind, value = _value_of_geometry(label.geometry, image_size)
        result.append(
            {
                "id": f"region{number}",
                "type": kind,
                "from_name": kind.removesuffix("labels"),
                "to_name": "image",
                **size,
                "image_rotation": 0,
                "score": score,
                "value": {**value, kind: [label.class_name]},
            }
        )
    prediction = {
        "model_version": model_version,
        "score": sum(scores) / len(scores) if scores else 0.0,
        "result": result,
    }
    link = _LOCAL_FILE + quote(str(image))
    document = {"data": {"image": link}, "predictions": [prediction]}
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


def labelling_interface(class_names: Iterable[str], kind: GeometryKind) -> str:
    """The labelling interface that Label Studio needs to show labels of a kind of geometry."""
    type_name = "polygonlabels" if kind is GeometryKind.POLYGON else "rectanglelabels"
    tag, name = _TAGS[type_name], type_name.removesuffix("labels")
    labels = "".join(f"<Label value={quoteattr(one)}/>" for one in class_names)
    return (
        f'<View><Image name="image" value="$image"/><{tag} name="{name}" toName="image">'
        f"{labels}</{tag}></View>"
    )


def _value_of_geometry(geometry: Geometry, size: ImageSize) -> tuple[str, dict[str, object]]:
    """Label Studio's type of a region, and where it is in percent of the image.

    Raises:
        InvalidInputError: the geometry is one of keypoints.
    """
    match geometry:
        case Box():
            left, top, _, _ = size.pixel_edges(geometry)
            width, height = geometry.width * size.width, geometry.height * size.height
            return "rectanglelabels", _rectangle(left, top, width, height, 0.0, size)
        case OrientedBox():
            return "rectanglelabels", _turned_rectangle(geometry, size)
        case Polygon():
            points = [[_rounded(x * 100), _rounded(y * 100)] for x, y in geometry.points]
            return "polygonlabels", {"points": points, "closed": True}
    raise InvalidInputError("Label Studio gets boxes and outlines only, not keypoints")


def _turned_rectangle(geometry: OrientedBox, size: ImageSize) -> dict[str, object]:
    """A rectangle by its first corner, and the angle around it, clockwise as it is seen."""
    first, second, _, last = ((x * size.width, y * size.height) for x, y in geometry.corners)
    across = (second[0] - first[0], second[1] - first[1])
    down = (last[0] - first[0], last[1] - first[1])
    if across[0] * down[1] - across[1] * down[0] < 0:
        across, down = down, across
    degrees = math.degrees(math.atan2(across[1], across[0])) % 360
    return _rectangle(*first, math.hypot(*across), math.hypot(*down), degrees, size)


def _rectangle(
    x: float, y: float, width: float, height: float, degrees: float, size: ImageSize
) -> dict[str, object]:
    return {
        "x": _rounded(x / size.width * 100),
        "y": _rounded(y / size.height * 100),
        "width": _rounded(width / size.width * 100),
        "height": _rounded(height / size.height * 100),
        "rotation": _rounded(degrees),
    }


def _rounded(value: float) -> float:
    return round(value, _DECIMALS)
