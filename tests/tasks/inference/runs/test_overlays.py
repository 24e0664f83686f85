import io

import numpy as np
import pytest
from PIL import Image

from tasks.inference.detections import Detection, ImageDetections
from tasks.inference.runs.overlays import colors_of_classes, draw_overlay, overlay_jpeg, shapes_of

DEAD = colors_of_classes(("live", "dead"))["dead"]
SQUARE = np.array([[20, 40], [80, 40], [80, 100], [20, 100]], np.float32)


def overlay_of(picture, **options):
    height, width = picture.shape[:2]
    found = ImageDetections(width, height, (Detection(1, 0.87, (20, 40, 80, 100), (SQUARE,)),))
    return draw_overlay(picture, found, ("live", "dead"), **options)


@pytest.mark.parametrize("channels", [None, 3, 4])
def test_outlines_are_drawn_in_the_colour_of_their_class(channels):
    shape = (120, 160) if channels is None else (120, 160, channels)
    overlay = overlay_of(np.full(shape, 100, np.uint8))
    assert overlay.shape == (120, 160, 3)
    assert overlay[70, 20].tolist() == pytest.approx(DEAD, abs=40)
    assert overlay[110, 150].tolist() == [100, 100, 100]
    inside = overlay[70, 50].astype(int)
    assert inside.tolist() == pytest.approx(0.65 * 100 + 0.35 * np.array(DEAD), abs=2)


def test_large_pictures_are_reduced_and_texts_stay_inside():
    overlay = overlay_of(np.zeros((1000, 2000, 3), np.uint8), longest_side=500)
    assert overlay.shape == (250, 500, 3)
    tiny = overlay_of(np.zeros((101, 81, 3), np.uint8))
    assert tiny.shape == (101, 81, 3)


def test_an_overlay_is_written_as_jpeg_with_its_colours():
    overlay = overlay_of(np.full((120, 160, 3), (10, 20, 200), np.uint8))
    picture = Image.open(io.BytesIO(overlay_jpeg(overlay, quality=95)))
    assert (picture.format, picture.size) == ("JPEG", (160, 120))
    difference = np.asarray(picture).astype(int) - overlay
    assert np.abs(difference).mean() < 6


def test_a_class_has_one_colour_on_a_page_whatever_its_id_is():
    both = colors_of_classes(("live", "dead"), ("Dead", " LIVE", "stone"))
    assert set(both) == {"dead", "live", "stone"}
    assert len(set(both.values())) == 3
    plain = np.full((120, 160, 3), 100, np.uint8)

    def drawn(class_id, names):
        found = ImageDetections(160, 120, (Detection(class_id, 0.9, (20, 40, 80, 100), (SQUARE,)),))
        return draw_overlay(plain, found, names, colors=both)[70, 50].tolist()

    assert drawn(1, ("live", "dead")) == drawn(0, ("Dead", " LIVE", "stone"))
    assert drawn(0, ("live", "dead")) == drawn(1, ("Dead", " LIVE", "stone"))
    assert drawn(0, ("live", "dead")) != drawn(1, ("live", "dead"))


def test_detections_as_shapes_over_a_reduced_picture():
    weak = Detection(0, 0.25, (20, 40, 80, 100), (SQUARE,))
    sure = Detection(1, 0.87, (20, 40, 80, 100), (SQUARE, SQUARE[:3]))
    found = ImageDetections(160, 120, (sure, weak))
    colors = {"貝": (0, 158, 115), "dead": (213, 94, 0)}
    first, second = shapes_of(found, ("貝", "dead"), colors=colors, scale=0.5)
    assert (first.name, first.colour) == ("貝 0.25", "#009e73")
    assert (second.name, second.colour) == ("dead 0.87", "#d55e00")
    assert first.outlines == [[[10, 20], [40, 20], [40, 50], [10, 50]]]
    assert len(second.outlines) == 2
