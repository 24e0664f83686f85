"""A table of formats and geometries: small files, and what they hold, computed by hand."""

from __future__ import annotations

import base64
import io
import itertools
import json

import numpy as np
from PIL import Image

from tasks.labels.annotations import Box, Keypoint, Keypoints, OrientedBox, Polygon
from tasks.labels.formats.registry import LabelFormat
from tasks.labels.geometry import ImageSize

# All pictures of the table have this size, so that pixels are easy to divide.
SIZE = ImageSize(200, 100)
# The box from (20, 10) to (100, 60), the triangle (20, 10), (100, 10), (100, 60), and so on.
BOX = Box(0.3, 0.35, 0.4, 0.5)
TRIANGLE = Polygon(((0.1, 0.1), (0.5, 0.1), (0.5, 0.6)))
# The same box turned by a quarter around its centre (60, 35): from (35, -5) to (85, 75).
TURNED = OrientedBox(((0.425, -0.05), (0.425, 0.75), (0.175, 0.75), (0.175, -0.05)))
CORNERS = OrientedBox(((0.1, 0.1), (0.5, 0.2), (0.45, 0.7), (0.05, 0.6)))
# Two rows of pixels from (20, 10): three and then one.
MASK = np.array([[1, 1, 1], [1, 0, 0]], np.uint8)
OUTLINE = Polygon(((0.1, 0.1), (0.1, 0.12), (0.105, 0.12), (0.105, 0.11), (0.115, 0.11),
                   (0.115, 0.1)))  # fmt: skip


def png(values: np.ndarray, palette: list[int] | None = None) -> bytes:
    picture = Image.fromarray(values)
    if palette is not None:
        picture = picture.convert("P") if picture.mode != "L" else picture
        picture.putpalette(palette)
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def cvat(shapes: str, more="") -> str:
    return (
        "<annotations><version>1.1</version><meta><task><labels>"
        "<label><name>dog</name></label><label><name>cat</name></label>"
        "<label><name>wrist</name><parent>cat</parent></label>"
        "<label><name>thumb</name><parent>cat</parent></label>"
        "</labels></task></meta>"
        f'<image id="0" name="a.jpg" width="200" height="100">{shapes}</image>{more}</annotations>'
    )


def labelme(**shape) -> str:
    shape = {"label": "cat", "group_id": None, "flags": {}, **shape}
    return json.dumps({"shapes": [shape], "imageWidth": 200, "imageHeight": 100})


def labelme_xml(more: str) -> str:
    size = "<imagesize><nrows>100</nrows><ncols>200</ncols></imagesize>"
    deleted = "<object><name>no</name><deleted>1</deleted></object>"
    return (
        f"<annotation><filename>a.jpg</filename>{size}{deleted}"
        f"<object><name>cat</name><deleted>0</deleted>{more}</object></annotation>"
    )


def points_xml(*points) -> str:
    inner = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)
    return f"<polygon><username>me</username>{inner}</polygon>"


def studio(*regions, **more) -> str:
    sides = {"original_width": 200, "original_height": 100, "image_rotation": 0}
    task = {
        "id": 1,
        "data": {"image": "/data/upload/3/0a1b2c3d-a.jpg"},
        "annotations": [{"id": 5, "was_cancelled": False, "result": [
            {"id": f"r{number}", "from_name": "label", "to_name": "image", **sides, **region}
            for number, region in enumerate(regions)
        ]}],
        "predictions": [],
        **more,
    }  # fmt: skip
    return json.dumps([task])


def brush_bytes(mask: np.ndarray) -> list[int]:
    """Write the bytes of an RGBA picture as runs with lengths of 16 bits, and single bytes."""
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    pixels[mask == 1] = (10, 20, 30, 255)
    bits = f"{pixels.size:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    for value, same in itertools.groupby(pixels.ravel().tolist()):
        length = len(list(same))
        while length > 0:
            run = min(length, 1 << 16)
            bits += f"0{0:02b}{0:03b}" if run == 1 else f"1{3:02b}{run - 1:016b}"
            bits += f"{value:08b}"
            length -= run
    bits += "0" * (-len(bits) % 8)
    return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]


def datumaro(*annotations) -> str:
    item = {"id": "a", "annotations": [
        {"id": number, "attributes": {}, "group": 0, "label_id": 1, **annotation}
        for number, annotation in enumerate(annotations)
    ], "image": {"path": "a.jpg", "size": [100, 200]}}  # fmt: skip
    labels = [{"name": name, "parent": ""} for name in ("dog", "cat")]
    return json.dumps({"info": {}, "categories": {"label": {"labels": labels}}, "items": [item]})


def mask_of(colour, others=()) -> np.ndarray:
    """The picture of the mask in a colour, and some pixels elsewhere in others."""
    values = np.zeros((100, 200, 3), np.uint8)
    values[ON_IMAGE == 1] = colour
    for column, other in enumerate(others):
        values[90, 2 * column] = other
    return values


ON_IMAGE = np.zeros((100, 200), np.uint8)
ON_IMAGE[10:12, 20:23] = MASK
# By columns, as COCO and Datumaro have it: three pixels of the mask are in the second column.
RUNS = [20 * 100 + 10, 2, 98, 1, 99, 1, 100 * 177 + 89]
VOC_MAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndog:128,0,0::\ncat:0,128,0::\n"
KITTI = "Car 0.00 0 -1.58 20.00 10.00 100.00 60.00 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59"
OPEN_IMAGES = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
    "IsDepiction,IsInside\na,xclick,/m/01yrx,1,0.1,0.5,0.1,0.6,0,0,0,0,0\n"
)
CODES = {"class-descriptions-boxable.csv": "/m/0bt9lr,Dog\n/m/01yrx,cat\n"}


def coco(**annotation) -> str:
    return json.dumps({
        "images": [{"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}],
        "categories": [{"id": 0, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 0, "iscrowd": 0, **annotation}],
    })  # fmt: skip


def voc(shape: str) -> str:
    size = "<size><width>200</width><height>100</height></size>"
    return f"<annotation>{size}<object><name>cat</name>{shape}</object></annotation>"


VOC_BOX = "<bndbox><xmin>21</xmin><ymin>11</ymin><xmax>100</xmax><ymax>60</ymax></bndbox>"
VOC_OUTLINE = (
    "<polygon><x1>20</x1><y1>10</y1><x2>100</x2><y2>10</y2><x3>100</x3><y3>60</y3></polygon>"
)
CAT = {"data.yaml": "names: [cat]"}

# What is read, by format and by what the file holds: the files beside `a.jpg`, and the geometries.
TABLE = {
    (LabelFormat.YOLO, "box"): ({"a.txt": "0 0.3 0.35 0.4 0.5\n", **CAT}, [BOX]),
    (LabelFormat.YOLO, "polygon"): ({"a.txt": "0 0.1 0.1 0.5 0.1 0.5 0.6\n", **CAT}, [TRIANGLE]),
    (LabelFormat.YOLO, "oriented box"): (
        {"a.txt": "0 0.1 0.1 0.5 0.2 0.45 0.7 0.05 0.6\n", "data.yaml": "names: [cat]\ntask: obb"},
        [CORNERS],
    ),
    (LabelFormat.YOLO, "keypoints"): (
        {"a.txt": "0 0.3 0.35 0.4 0.5 0.1 0.1 1 0.5 0.6 2\n",
         "data.yaml": "names: [cat]\nkpt_shape: [2, 3]"},
        [Keypoints(BOX, (Keypoint(0.1, 0.1, 1), Keypoint(0.5, 0.6, 2)))],
    ),
    (LabelFormat.COCO, "box"): ({"all.json": coco(bbox=[20, 10, 80, 50])}, [BOX]),
    (LabelFormat.COCO, "polygon"): (
        {"all.json": coco(bbox=[20, 10, 80, 50], segmentation=[[20, 10, 100, 10, 100, 60]])},
        [TRIANGLE],
    ),
    (LabelFormat.COCO, "mask"): (
        {"all.json": coco(segmentation={"counts": RUNS, "size": [100, 200]})},
        [OUTLINE],
    ),
    (LabelFormat.COCO, "keypoints"): (
        {"all.json": coco(bbox=[20, 10, 80, 50], keypoints=[20, 10, 1, 100, 60, 2])},
        [Keypoints(BOX, (Keypoint(0.1, 0.1, 1), Keypoint(0.5, 0.6, 2)))],
    ),
    (LabelFormat.PASCAL_VOC, "box"): ({"a.xml": voc(VOC_BOX)}, [BOX]),
    (LabelFormat.PASCAL_VOC, "polygon"): ({"a.xml": voc(VOC_BOX + VOC_OUTLINE)}, [TRIANGLE]),
    (LabelFormat.PROJECT_JSON, "box"): (
        {"a.json": '{"m": ["a.jpg", 200, 100], "c": ["cat"], "d": [[0, [20, 10, 100, 60]]]}'},
        [BOX],
    ),
    (LabelFormat.PROJECT_JSON, "polygon"): (
        {"a.toon": '{"m": ["", 200, 100], "c": ["cat"], "d": [[0, [20, 10, 100, 10, 100, 60]]]}'},
        [TRIANGLE],
    ),
    (LabelFormat.LABELME, "polygon"): (
        {"a.json": labelme(shape_type="polygon", points=[[20, 10], [100, 10], [100, 60]])},
        [TRIANGLE],
    ),
    (LabelFormat.LABELME, "oriented box"): (
        {"a.json": labelme(
            shape_type="rotation", points=[[20, 10], [100, 20], [90, 70], [10, 60]]
        )},
        [CORNERS],
    ),
    (LabelFormat.CVAT, "box"): (
        {"annotations.xml": cvat('<box label="cat" xtl="20" ytl="10" xbr="100" ybr="60"/>')},
        [BOX],
    ),
    (LabelFormat.CVAT, "turned box"): (
        {"annotations.xml": cvat(
            '<box label="cat" xtl="20" ytl="10" xbr="100" ybr="60" rotation="90.0"/>'
        )},
        [TURNED],
    ),
    (LabelFormat.CVAT, "polygon"): (
        {"annotations.xml": cvat('<polygon label="cat" points="20.00,10.00;100,10;100,60"/>')},
        [TRIANGLE],
    ),
    (LabelFormat.CVAT, "points"): (
        {"annotations.xml": cvat('<points label="cat" points="20,10;100,60"/>')},
        [Keypoints(BOX, (Keypoint(0.1, 0.1, 2), Keypoint(0.5, 0.6, 2)))],
    ),
    (LabelFormat.CVAT, "skeleton"): (
        # Written in another order than the class has; a third point is not labelled.
        {"annotations.xml": cvat(
            '<skeleton label="cat"><points label="thumb" occluded="1" outside="0" '
            'points="100,60"/><points label="wrist" outside="1" points="0,0"/></skeleton>'
        )},
        [Keypoints(Box(0.5, 0.6, 0, 0), (Keypoint(0, 0, 0), Keypoint(0.5, 0.6, 1)))],
    ),
    (LabelFormat.CVAT, "mask"): (
        {"annotations.xml": cvat(
            '<mask label="cat" rle="0, 4, 2" left="20" top="10" width="3" height="2"/>'
        )},
        [OUTLINE],
    ),
    (LabelFormat.LABELME, "rectangle of four points"): (
        {"a.json": labelme(
            shape_type="rectangle", points=[[100, 10], [100, 60], [20, 60], [20, 10]]
        )},
        [BOX],
    ),
    (LabelFormat.LABELME, "rectangle of another spelling"): (
        {"a.json": labelme(shape_type="Rect", points=[[100, 60], [20, 10]])},
        [BOX],
    ),
    (LabelFormat.LABELME, "rectangle that is turned"): (
        {"a.json": labelme(
            shape_type="rectangle", points=[[20, 10], [100, 20], [90, 70], [10, 60]]
        )},
        [CORNERS],
    ),
    (LabelFormat.LABELME, "mask"): (
        {"a.json": labelme(
            shape_type="mask", points=[[20, 10], [22, 11]],
            mask=base64.b64encode(png(MASK * 255)).decode(),
        )},
        [OUTLINE],
    ),
    (LabelFormat.LABELME_XML, "polygon"): (
        {"a.xml": labelme_xml(points_xml((20, 10), (100, 10), (100, 60)))},
        [TRIANGLE],
    ),
    (LabelFormat.LABELME_XML, "box"): (
        {"a.xml": labelme_xml(
            "<type>bounding_box</type>" + points_xml((20, 10), (100, 10), (100, 60), (20, 60))
        )},
        [BOX],
    ),
    (LabelFormat.KITTI, "box"): (
        {"a.txt": f"DontCare -1 -1 -10 5 5 9 9 -1 -1 -1 -1000 -1000 -1000 -10\n"
                  f"{KITTI.replace('Car', 'cat')}\n"},
        [BOX],
    ),
    (LabelFormat.DOTA, "oriented box"): (
        {"a.txt": "imagesource:GoogleEarth\ngsd:0.146\n20 10 100 20 90.0 70.0 10.0 60.0 cat 0\n"},
        [CORNERS],
    ),
    (LabelFormat.LABEL_STUDIO, "rectangle"): (
        {"export.json": studio({"type": "rectanglelabels", "value": {
            "x": 10, "y": 10, "width": 40, "height": 50, "rotation": 0,
            "rectanglelabels": ["cat"]}})},
        [BOX],
    ),
    (LabelFormat.LABEL_STUDIO, "rectangle with the label apart"): (
        {"export.json": studio(
            {"id": "x", "type": "rectangle", "value": {
                "x": 10, "y": 10, "width": 40, "height": 50, "rotation": 0}},
            {"id": "x", "type": "labels", "value": {
                "x": 10, "y": 10, "width": 40, "height": 50, "rotation": 0, "labels": ["cat"]}},
        )},
        [BOX],
    ),
    (LabelFormat.LABEL_STUDIO, "rectangle that is turned"): (
        # By a quarter around (20, 10): to the right becomes down, down becomes to the left.
        {"export.json": studio({"type": "rectanglelabels", "value": {
            "x": 10, "y": 10, "width": 40, "height": 50, "rotation": 90,
            "rectanglelabels": ["cat"]}})},
        [OrientedBox(((0.1, 0.1), (0.1, 0.9), (-0.15, 0.9), (-0.15, 0.1)))],
    ),
    (LabelFormat.LABEL_STUDIO, "polygon"): (
        {"export.json": studio({"type": "polygonlabels", "value": {
            "points": [[10, 10], [50, 10], [50, 60]], "closed": True, "polygonlabels": ["cat"]}})},
        [TRIANGLE],
    ),
    (LabelFormat.LABEL_STUDIO, "brush"): (
        {"export.json": studio({"type": "brushlabels", "value": {
            "format": "rle", "rle": brush_bytes(ON_IMAGE), "brushlabels": ["cat"]}})},
        [OUTLINE],
    ),
    (LabelFormat.LABEL_STUDIO, "keypoint"): (
        {"export.json": studio({"type": "keypointlabels", "value": {
            "x": 10, "y": 60, "width": 0.3, "keypointlabels": ["cat"]}})},
        [Keypoints(Box(0.1, 0.6, 0, 0), (Keypoint(0.1, 0.6, 2),))],
    ),
    (LabelFormat.LABEL_STUDIO, "keypoints of a rectangle"): (
        {"export.json": studio(
            {"id": "x", "type": "rectanglelabels", "value": {
                "x": 10, "y": 10, "width": 40, "height": 50, "rotation": 0,
                "rectanglelabels": ["cat"]}},
            {"type": "keypointlabels", "parentID": "x", "value": {
                "x": 10, "y": 10, "width": 0.3, "keypointlabels": ["nose"]}},
            {"type": "keypointlabels", "parentID": "x", "value": {
                "x": 50, "y": 60, "width": 0.3, "keypointlabels": ["tail"]}},
        )},
        [Keypoints(BOX, (Keypoint(0.1, 0.1, 2), Keypoint(0.5, 0.6, 2)))],
    ),
    (LabelFormat.LABEL_STUDIO, "minimal form"): (
        {"export.json": json.dumps([{"id": 1, "image": "s3://bucket/some/a.jpg", "label": [
            {"x": 10, "y": 10, "width": 40, "height": 50, "rotation": 0,
             "rectanglelabels": ["cat"], "original_width": 200, "original_height": 100}]}])},
        [BOX],
    ),
    (LabelFormat.DATUMARO, "box"): (
        {"annotations/train.json": datumaro({"type": "bbox", "bbox": [20, 10, 80, 50]})},
        [BOX],
    ),
    (LabelFormat.DATUMARO, "polygon"): (
        {"annotations/train.json": datumaro(
            {"type": "polygon", "points": [20, 10, 100, 10, 100, 60]}
        )},
        [TRIANGLE],
    ),
    (LabelFormat.DATUMARO, "mask"): (
        {"annotations/train.json": datumaro(
            {"type": "mask", "rle": {"counts": RUNS, "size": [100, 200]}}
        )},
        [OUTLINE],
    ),
    (LabelFormat.DATUMARO, "points of a box"): (
        {"annotations/train.json": datumaro(
            {"type": "bbox", "bbox": [20, 10, 80, 50], "group": 4},
            {"type": "points", "points": [20, 10, 100, 60], "visibility": [1, 2], "group": 4},
        )},
        [Keypoints(BOX, (Keypoint(0.1, 0.1, 1), Keypoint(0.5, 0.6, 2)))],
    ),
    (LabelFormat.CLASS_MASK, "VOC with a palette"): (
        # The border of VOC, 255, is open.
        {"JPEGImages/a.jpg": "", "labelmap.txt": VOC_MAP, "SegmentationClass/a.png": png(
            np.where(ON_IMAGE == 1, 2, np.eye(100, 200, 100, np.uint8) * 255).astype(np.uint8),
            [0, 0, 0, 128, 0, 0, 0, 128, 0, *[0] * 252 * 3, 224, 224, 192],
        )},
        [OUTLINE],
    ),
    (LabelFormat.CLASS_MASK, "VOC in colour"): (
        {"JPEGImages/a.jpg": "", "labelmap.txt": VOC_MAP,
         "SegmentationClass/a.png": png(mask_of((0, 128, 0), [(224, 224, 192)]))},
        [OUTLINE],
    ),
    (LabelFormat.CLASS_MASK, "CamVid"): (
        {"train/a.jpg": "", "train_labels/a_L.png": png(mask_of((64, 0, 128))),
         "class_dict.csv": "name,r,g,b\nVoid,0,0,0\ndog,64,128,64\ncat,64,0,128\n"},
        [OUTLINE],
    ),
    (LabelFormat.CLASS_MASK, "CamVid by numbers"): (
        {"train/a.jpg": "", "trainannot/a.png": png(ON_IMAGE * 2),
         "label_colors.txt": "0 0 0\tVoid\n64 128 64\tdog\n64 0 128\tcat\n"},
        [OUTLINE],
    ),
    (LabelFormat.OPEN_IMAGES, "box"): (
        {"train-annotations-bbox.csv": OPEN_IMAGES, **CODES},
        [BOX],
    ),
}  # fmt: skip
