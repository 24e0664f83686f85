"""Label files whose size is not that of the picture: before EXIF turns it, or another one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from storage.errors import ImageError
from tasks.images.decoding import read_image_facts, read_shown_size
from tasks.labels.annotations import Box
from tasks.labels.geometry import ImageSize
from tasks.releases.scan import scan_release
from tests.places import DATA
from tests.tasks.labels.label_samples import codes, read_files
from tests.tasks.releases.archives import write_zip


def picture(width: int, height: int, orientation: int = 1) -> bytes:
    """Stored with this size."""
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.full((height, width, 3), 90, np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def shown_size(content: bytes) -> ImageSize | None:
    found = read_shown_size(lambda size: content if size < 0 else content[:size])
    return found and ImageSize(*found)


def coco(width: int, height: int, *box: float) -> str:
    return json.dumps(
        {
            "images": [{"id": 1, "width": width, "height": height, "file_name": "a.jpg"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box}],
            "categories": [{"id": 1, "name": "red"}],
        }
    )


def voc(width: int, height: int, *box: float) -> str:
    left, top, right, bottom = box[0] + 1, box[1] + 1, box[0] + box[2], box[1] + box[3]
    return (
        f"<annotation><size><width>{width}</width><height>{height}</height></size><object>"
        f"<name>red</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax>"
        f"<ymax>{bottom}</ymax></bndbox></object></annotation>"
    )


def labelme(width: int, height: int, *box: float) -> str:
    left, top, right, bottom = edges(box)
    points = [[left, top], [right, bottom]]
    shape = {"label": "red", "points": points, "shape_type": "rectangle"}
    return json.dumps({"shapes": [shape], "imageWidth": width, "imageHeight": height})


def project_json(width: int, height: int, *box: float) -> str:
    return json.dumps({"m": ["a.jpg", width, height], "c": ["red"], "d": [[0, edges(box)]]})


def labelme_xml(width: int, height: int, *box: float) -> str:
    left, top, right, bottom = edges(box)
    return (
        f"<annotation><imagesize><nrows>{height}</nrows><ncols>{width}</ncols></imagesize><object>"
        f"<name>red</name><type>bounding_box</type><polygon><pt><x>{left}</x><y>{top}</y></pt><pt>"
        f"<x>{right}</x><y>{bottom}</y></pt></polygon></object></annotation>"
    )


def cvat(width: int, height: int, *box: float) -> str:
    left, top, right, bottom = edges(box)
    return (
        f'<annotations><image id="0" name="a.jpg" width="{width}" height="{height}">'
        f'<box label="red" xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}"/>'
        '<tag label="day"/></image></annotations>'
    )


def datumaro(width: int, height: int, *box: float) -> str:
    item = {
        "id": "a",
        "image": {"path": "a.jpg", "size": [height, width]},
        "annotations": [{"type": "bbox", "label_id": 0, "bbox": box}],
    }
    return json.dumps({"categories": {"label": {"labels": [{"name": "red"}]}}, "items": [item]})


def edges(box: tuple[float, ...]) -> list[float]:
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]]


SHOWN = (10, 20, 30, 60)
RIGHT = Box(0.25, 0.25, 0.3, 0.3)
DIFFERS = ["image_size_differs"]
CASES = {
    "shown": ((100, 200), SHOWN, RIGHT, RIGHT, []),
    # As Label Studio 6608: the size as stored, the box as shown.
    "stored": ((200, 100), SHOWN, RIGHT, RIGHT, DIFFERS),
    # This box lies only in the picture as stored.
    "stored box": ((200, 100), (150, 20, 40, 60), *[Box(0.85, 0.5, 0.2, 0.6)] * 2, DIFFERS),
    # The picture was resized: the positions are of the file's size.
    "half": ((50, 100), (5, 10, 15, 30), RIGHT, RIGHT, DIFFERS),
    # A size of other proportions: the file's own counts, that of VOC and LabelMe only where the
    # boxes need it.
    "other": ((400, 200), SHOWN, Box(0.0625, 0.25, 0.075, 0.3), RIGHT, DIFFERS),
    "needed": ((400, 200), (300, 20, 40, 60), *[Box(0.8, 0.25, 0.1, 0.3)] * 2, DIFFERS),
    "too small": ((20, 30), SHOWN, RIGHT, RIGHT, DIFFERS),
    "rounded": ((100.4, 199.6), (0, 0, 100.4, 199.6), *[Box(0.5, 0.5, 1, 1)] * 2, []),
}


KINDS = {
    "coco": ("annotations.json", coco, True),
    "coco beside": ("a.json", coco, True),
    "voc": ("a.xml", voc, False),
    "labelme": ("a.json", labelme, False),
    "labelme xml": ("a.xml", labelme_xml, True),
    "project json": ("a.json", project_json, True),
    "cvat": ("annotations.xml", cvat, True),
    "datumaro": ("all.json", datumaro, True),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_the_size_that_positions_are_of(case, kind, tmp_path):
    size, box, of_trusted, of_others, problems = CASES[case]
    name, write, is_trusted = KINDS[kind]
    content, expected = write(*size, *box), of_trusted if is_trusted else of_others
    content_of_image = picture(200, 100, orientation=6)
    files = {"a.jpg": content_of_image, name: content.encode()}
    found = read_files(files, size_of_image=lambda _: shown_size(content_of_image))
    (image,) = found.images
    assert image.labels is not None
    label, *classes = image.labels.labels
    # The class of the whole image lies nowhere.
    assert all(one.geometry == Box(0.5, 0.5, 1, 1) for one in classes)
    values = [getattr(label.geometry, one) for one in Box.__slots__]
    assert values == pytest.approx([getattr(expected, one) for one in Box.__slots__], abs=1e-9)
    assert codes(found.all_problems()) == problems
    release = scan_release(write_zip(tmp_path / "release.zip", files))
    assert sum(split.instances for split in release.shapes.splits) == 1
    assert list(release.problem_totals) == problems


def test_percent_hold_for_any_size_and_what_is_turned_has_the_shape_of_the_picture():
    """The file has the size as stored, 200 x 100; everything is drawn on 100 x 200."""

    def region(**value):
        return {"id": str(len(value)), "original_width": 200, "original_height": 100,
                "value": value}  # fmt: skip

    upright = region(x=10, y=10, width=30, height=30, rectanglelabels=["red"])
    turned = region(x=90, y=10, width=30, height=30, rotation=90, rectanglelabels=["red"])
    task = {"data": {"image": "a.jpg"}, "annotations": [{"result": [upright, turned]}]}
    content = picture(200, 100, orientation=6)
    files = {"a.jpg": content, "tasks.json": json.dumps([task])}
    found = read_files(files, size_of_image=lambda _: shown_size(content))
    box, oriented = (label.geometry for label in found.images[0].labels.labels)
    assert box == Box(0.25, 0.25, 0.3, 0.3)
    # 30 x 60 pixels from (90, 20) on, turned by a right angle: 60 to the left and 30 down.
    corners = [(0.9, 0.1), (0.9, 0.25), (0.3, 0.25), (0.3, 0.1)]
    assert np.array(oriented.corners) == pytest.approx(np.array(corners), abs=1e-9)
    assert codes(found.all_problems()) == ["image_size_differs"]


def test_the_reason_names_both_sizes_and_the_one_that_is_used():
    content = picture(200, 100, orientation=6)
    files = {"a.jpg": content, "a.xml": voc(200, 100, *SHOWN)}
    (problem,) = read_files(files, size_of_image=lambda _: shown_size(content)).all_problems()
    assert problem.place == "a.xml"
    assert problem.reason == (
        "the file says 200 x 100 pixels, the picture is shown with 100 x 200 (width and height are "
        "swapped, as before EXIF turns it): positions are taken in 100 x 200"
    )


def test_a_picture_that_cannot_be_read_leaves_the_file_its_size():
    found = read_files({"a.jpg": "", "a.xml": voc(200, 100, *SHOWN)}, size_of_image=lambda _: None)
    assert codes(found.all_problems()) == []
    assert found.images[0].labels.labels[0].geometry == Box(0.125, 0.5, 0.15, 0.6)


def test_the_first_bytes_tell_the_size_that_the_whole_file_tells():
    paths = [path for path in Path(DATA).rglob("*") if path.suffix in (".jpg", ".png", ".webp")]
    assert len(paths) > 20
    for path in paths:
        content = path.read_bytes()
        try:
            facts = read_image_facts(content)
        except ImageError:
            continue
        assert shown_size(content) == ImageSize(facts.width, facts.height), path


@pytest.mark.parametrize(
    ("kind", "options", "most"),
    [
        ("JPEG", {"quality": 95}, 1 << 16),
        ("PNG", {}, 1 << 16),
        ("BMP", {}, 1 << 16),
        ("GIF", {}, 1 << 16),
        ("PPM", {}, 1 << 16),
        ("TGA", {}, 1 << 16),
        ("JPEG2000", {}, 1 << 16),
        ("WEBP", {"lossless": True}, 1 << 16),
        ("WEBP", {"quality": 100}, 1 << 16),
        ("WEBP", {"quality": 100, "icc_profile": b"x" * 128}, 1 << 16),
        ("TIFF", {}, 1 << 16),
        # What matters is behind the pixels, or may be.
        ("TIFF", {"compression": "tiff_lzw"}, None),
        ("WEBP", {"quality": 100, "turned": True}, None),
        ("AVIF", {"quality": 100, "turned": True}, None),
    ],
)
def test_no_more_of_a_picture_is_read_than_its_header(kind, options, most):
    noise = np.random.default_rng(1).integers(0, 256, (401, 300, 3), np.uint8)
    stream = io.BytesIO()
    if options.pop("turned", False):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    Image.fromarray(noise).save(stream, kind, **options)
    content = stream.getvalue()
    assert len(content) > 2 << 16
    asked: list[int] = []

    def read(size: int) -> bytes:
        asked.append(size)
        return content if size < 0 else content[:size]

    facts = read_image_facts(content)
    assert read_shown_size(read) == (facts.width, facts.height)
    assert (facts.width < facts.height) is ("exif" not in options)
    assert asked[-1] == most or (most is None and not 0 <= asked[-1] < len(content))
    assert read_shown_size(lambda size: content[:8]) is None
