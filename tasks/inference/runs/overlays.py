"""Pictures of what was found: outlines with class and confidence over the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from tasks.inference.detections import FloatArray, ImageDetections
from tasks.inference.runs.live_dead import class_name_of, folded
from tasks.reports.report import Shape

Picture = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

# Colour-blind safe (Okabe and Ito), R, G, B; classes beyond the last begin again.
CLASS_COLORS = (
    (0, 158, 115),
    (213, 94, 0),
    (86, 180, 233),
    (230, 159, 0),
    (204, 121, 167),
    (240, 228, 66),
    (0, 114, 178),
)
_SHIFT = 4  # positions go to OpenCV in sixteenths of a pixel


def draw_overlay(
    picture: Picture,
    found: ImageDetections,
    class_names: Sequence[str],
    *,
    colors: Mapping[str, Color] | None = None,
    longest_side: int = 960,
) -> Picture:
    """Draw detections over a picture: (rows, columns, 3), R, G, B.

    The picture is (height, width) grey, or (height, width, 3 or more) with R, G, B first, of the
    size that `found` says, and is reduced where it is larger than `longest_side`. `colors` are as
    `colors_of_classes` gives them; left out, those of these classes alone.
    """
    colors = colors_of_classes(class_names) if colors is None else colors
    canvas, scale = reduced(picture, found, longest_side)

    def color_of(class_id: int) -> Color:
        return colors.get(folded(class_name_of(class_id, class_names)), CLASS_COLORS[-1])

    tinted = canvas.copy()
    for entry in found.detections:
        outlines = [_fixed(outline, scale) for outline in entry.polygons]
        cv2.fillPoly(tinted, outlines, color_of(entry.class_id), cv2.LINE_AA, _SHIFT)
    canvas = cv2.addWeighted(canvas, 0.65, tinted, 0.35, 0).astype(np.uint8)
    # The least confident first, so that the most confident is on top.
    for entry in reversed(found.detections):
        color = color_of(entry.class_id)
        outlines = [_fixed(outline, scale) for outline in entry.polygons]
        cv2.polylines(canvas, outlines, True, color, 2, cv2.LINE_AA, _SHIFT)
        name = class_name_of(entry.class_id, class_names)
        # OpenCV's letters are those of ASCII.
        text = f"{name if name.isascii() else f'class {entry.class_id}'} {entry.confidence:.2f}"
        _write(canvas, text, entry.box[0] * scale, entry.box[1] * scale, color)
    return canvas


def reduced(picture: Picture, found: ImageDetections, longest_side: int) -> tuple[Picture, float]:
    """A picture of detections, R, G, B, at most so large, and how much smaller it became."""
    scale = min(1.0, longest_side / max(found.width, found.height))
    size = (max(round(found.width * scale), 1), max(round(found.height * scale), 1))
    smaller = cv2.resize(_rgb(picture), size, interpolation=cv2.INTER_AREA)
    return smaller.astype(np.uint8), scale


def shapes_of(
    found: ImageDetections,
    class_names: Sequence[str],
    *,
    colors: Mapping[str, Color],
    scale: float = 1.0,
) -> list[Shape]:
    """Detections as shapes over a picture that is reduced by `scale`, the most confident last."""
    return [
        Shape(
            [(outline * scale).tolist() for outline in entry.polygons],
            "#{:02x}{:02x}{:02x}".format(
                *colors.get(folded(class_name_of(entry.class_id, class_names)), CLASS_COLORS[-1])
            ),
            f"{class_name_of(entry.class_id, class_names)} {entry.confidence:.2f}",
        )
        for entry in reversed(found.detections)
    ]


def overlay_jpeg(overlay: Picture, *, quality: int = 82) -> bytes:
    """Encode an overlay (rows, columns, 3), R, G, B, as JPEG."""
    bgr = cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR)
    _, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return content.tobytes()


def colors_of_classes(*class_names: Sequence[str]) -> dict[str, Color]:
    """The colour of each class, R, G, B, by its folded name, whatever its ids are."""
    names = sorted({folded(name) for names in class_names for name in names})
    return {name: CLASS_COLORS[place % len(CLASS_COLORS)] for place, name in enumerate(names)}


def _rgb(picture: Picture) -> Picture:
    if picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB).astype(np.uint8)
    return np.ascontiguousarray(picture[..., :3])


def _fixed(outline: FloatArray, scale: float) -> npt.NDArray[np.int32]:
    # OpenCV counts from the middle of the first pixel.
    return np.round((outline * scale - 0.5) * (1 << _SHIFT)).astype(np.int32)


def _write(
    canvas: Picture, text: str, left: float, top: float, color: tuple[int, int, int]
) -> None:
    """Write a text on a filled bar, inside the picture, in the better readable of two greys."""
    font, height = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    (width, rise), drop = cv2.getTextSize(text, font, height, 1)
    x = int(np.clip(left, 0, max(canvas.shape[1] - width, 0)))
    y = int(np.clip(top, rise + drop, canvas.shape[0] - drop))
    cv2.rectangle(canvas, (x, y - rise - drop), (x + width, y + drop), color, cv2.FILLED)
    red, green, blue = color
    is_bright = 0.299 * red + 0.587 * green + 0.114 * blue > 130
    shade = (20, 20, 20) if is_bright else (250, 250, 250)
    cv2.putText(canvas, text, (x, y), font, height, shade, 1, cv2.LINE_AA)
