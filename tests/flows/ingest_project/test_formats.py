"""The same labels in every format and layout give the same rows and the same image index."""

from __future__ import annotations

from pathlib import PurePosixPath
from xml.etree import ElementTree

import pytest

from tasks.labels.annotations import Box, GeometryKind, ImageLabels, Label, Polygon
from tasks.labels.formats.json_documents.coco_writer import write_coco
from tasks.labels.formats.registry import LabelConventions, LabelFormat, write_label_file
from tasks.labels.formats.yolo.geometry import YoloGeometry
from tasks.labels.geometry import ImageSize
from tests.flows.ingest_project.ingest_samples import ROWS, as_json, index_of, picture, write

NAMES = {0: "Möwe", 1: "貝 shell"}
BOX = Label(NAMES[0], Box(0.5, 0.5, 0.25, 0.5), 0)
POLYGON = Label(NAMES[1], Polygon(((0.25, 0.25), (0.75, 0.25), (0.5, 0.75))), 1)
IMAGES = {
    ("train", "ä 鳥"): [BOX, POLYGON],
    ("train", "b"): [POLYGON],
    ("val", "c"): [BOX],
    ("val", "empty"): [],
}
WIDTH, HEIGHT = 64, 48
SIZE = ImageSize(WIDTH, HEIGHT)
LAYOUTS = {
    "images then split": ("images/{split}/{name}", "labels/{split}/{name}"),
    "split then images": ("{split}/images/{name}", "{split}/labels/{name}"),
    "flat": ("{name}", "{name}"),
}
CONVENTIONS = LabelConventions(YoloGeometry(GeometryKind.POLYGON), NAMES, True)
# format: suffix of its files, whether they hold class ids, and a layout
FORMATS = {
    "yolo": (LabelFormat.YOLO, ".txt", True, "split then images"),
    "labelme": (LabelFormat.LABELME, ".json", False, "flat"),
    "project json": (LabelFormat.PROJECT_JSON, ".json", True, "images then split"),
    "toon": (LabelFormat.PROJECT_JSON, ".toon", True, "split then images"),
    "voc": (LabelFormat.PASCAL_VOC, ".xml", False, "images then split"),
    "coco": (LabelFormat.COCO, None, True, "split then images"),
}


def pixels(label):
    """The corners of a box (left top, right bottom), or all points of a polygon, in pixels."""
    if label is BOX:
        return [(24, 12), (40, 36)]
    return [(16, 12), (48, 12), (32, 36)]


def yolo_by_hand(_image, labels):
    rows = {BOX: "0 0.5 0.5 0.25 0.5", POLYGON: "1 0.25 0.25 0.75 0.25 0.5 0.75"}
    return "\n".join(rows[label] for label in labels)


def labelme_by_hand(image, labels):
    shapes = [
        {
            "label": label.class_name,
            "points": pixels(label),
            "shape_type": "rectangle" if label is BOX else "polygon",
        }
        for label in labels
    ]
    return as_json(
        {"shapes": shapes, "imagePath": image, "imageWidth": WIDTH, "imageHeight": HEIGHT}
    )


def project_json_by_hand(image, labels):
    entries = [[label.class_id, [v for point in pixels(label) for v in point]] for label in labels]
    return as_json({"v": 1, "m": [image, WIDTH, HEIGHT], "c": list(NAMES.values()), "d": entries})


def voc_by_hand(image, labels):
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = image
    size = ElementTree.SubElement(root, "size")
    for name, value in (("width", WIDTH), ("height", HEIGHT), ("depth", 3)):
        ElementTree.SubElement(size, name).text = str(value)
    for label in labels:
        item = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(item, "name").text = label.class_name
        xs, ys = zip(*pixels(label), strict=True)
        box = ElementTree.SubElement(item, "bndbox")
        edges = {"xmin": min(xs) + 1, "ymin": min(ys) + 1, "xmax": max(xs), "ymax": max(ys)}
        for name, value in edges.items():
            ElementTree.SubElement(box, name).text = str(value)
        if label is POLYGON:
            outline = ElementTree.SubElement(item, "polygon")
            for number, (x, y) in enumerate(pixels(label), start=1):
                ElementTree.SubElement(outline, f"x{number}").text = str(x)
                ElementTree.SubElement(outline, f"y{number}").text = str(y)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def coco_by_hand(images):
    annotations = []
    for image_id, (_, labels) in enumerate(images, start=10):
        for label in labels:
            xs, ys = zip(*pixels(label), strict=True)
            box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
            outline = [[v for point in pixels(label) for v in point]] if label is POLYGON else []
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": label.class_id,
                    "bbox": box,
                    "segmentation": outline,
                    "iscrowd": 0,
                }
            )
    listed = [
        {"id": image_id, "file_name": name, "width": WIDTH, "height": HEIGHT}
        for image_id, (name, _) in enumerate(images, start=10)
    ]
    names = [{"id": class_id, "name": name} for class_id, name in NAMES.items()]
    return as_json({"images": listed, "annotations": annotations, "categories": names})


BY_HAND = {
    "yolo": yolo_by_hand,
    "labelme": labelme_by_hand,
    "project json": project_json_by_hand,
    "toon": project_json_by_hand,
    "voc": voc_by_hand,
}


def write_dataset(folder, kind, *, by_hand):
    label_format, suffix, has_ids, layout = FORMATS[kind]
    image_place, label_place = LAYOUTS[layout]
    by_split: dict[str, list] = {"train": [], "val": []}
    for seed, ((split, name), labels) in enumerate(IMAGES.items()):
        picture(folder / image_place.format(split=split, name=f"{name}.png"), seed)
        if suffix is None:
            by_split[split].append((f"{name}.png", labels))
            continue
        if by_hand:
            content = BY_HAND[kind](f"{name}.png", labels)
        else:
            content = write_label_file(
                labels,
                label_format,
                image=PurePosixPath(f"{name}.png"),
                size=SIZE,
                conventions=CONVENTIONS,
            )
        write(folder / label_place.format(split=split, name=name + suffix), content)
    for split, images in by_split.items():
        if suffix is not None:
            continue
        if by_hand:
            content = coco_by_hand(images)
        else:
            listed = [
                ImageLabels(PurePosixPath(name), PurePosixPath(name), tuple(labels))
                for name, labels in images
            ]
            sizes = {PurePosixPath(name): SIZE for name, _ in images}
            content = write_coco(listed, sizes=sizes, names=NAMES)
        write(folder / split / "images" / "_annotations.coco.json", content)
    if has_ids and suffix is not None:
        write(folder / "data.yaml", as_json({"names": list(NAMES.values())}))
    return layout


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_labels_whatever_the_format(ingested, image_rows, tmp_path, kind):
    label_format, _, has_ids, _ = FORMATS[kind]
    for project, by_hand in (("by hand", True), ("written", False)):
        layout = write_dataset(tmp_path / project, kind, by_hand=by_hand)
        report = ingested(tmp_path / project, project)
        index = {PurePosixPath(path).stem: row for path, row in index_of(report).items()}
        noted = {problem["code"] for problem in report["label_problems"]}
        assert noted == ({"mixed_geometry"} if kind == "yolo" else set())
        assert set(report["class_names"].values()) == set(NAMES.values())
        rows = {PurePosixPath(row["relative_path"]).stem: row for row in image_rows(project)}
        for (split, name), labels in IMAGES.items():
            assert rows[name]["label_count"] == len(labels)
            assert rows[name]["label_format"] == label_format.value
            assert rows[name]["split"] == (None if layout == "flat" else split)
            found = index[name]["labels"]
            assert len(found) == len(labels)
            for one, label in zip(found, labels, strict=True):
                assert one["class_name"] == label.class_name
                assert one["class_id"] == (label.class_id if has_ids else None)
                assert one["geometry"] == ("box" if label is BOX else "polygon")
                numbers = [one[k] for k in ("center_x", "center_y", "width", "height")]
                expected = [0.5, 0.5, 0.25, 0.5] if label is BOX else [0.5, 0.5, 0.5, 0.5]
                assert numbers == pytest.approx(expected, abs=1e-6)
                points = [] if one["points"] is None else [v for p in one["points"] for v in p]
                expected = [] if label is BOX else [v for p in label.geometry.points for v in p]
                assert points == pytest.approx(expected, abs=1e-6)
        assert index["empty"]["labels"] == [], "a background picture, not one without labels"


def test_encodings_and_what_is_wrong_with_file_and_line(ingested, image_rows, tmp_path):
    source = tmp_path / "source"
    for number, name in enumerate(("bom", "utf16", "crlf", "cut", "bad", "none")):
        picture(source / "images" / f"{name}.png", number)
    labels = source / "labels"
    write(labels / "bom.txt", b"\xef\xbb\xbf" + ROWS.encode())
    write(labels / "utf16.txt", ROWS.encode("utf-16"))
    write(labels / "crlf.txt", ROWS.replace("\n", "\r\n"))
    write(labels / "cut.txt", ROWS.rstrip())
    write(labels / "bad.txt", "0 0.5 0.5 0.25 0.5\n0 0.5 nonsense 0.1 0.1\n0 0.5\n")
    write(labels / "orphan.txt", ROWS)
    write(source / "data.yaml", "names: [Möwe, 貝]\n".encode("utf-16"))
    report = ingested(source, "p")
    rows = {row["relative_path"]: row["label_count"] for row in image_rows("p")}
    assert rows == {
        **{f"images/{name}.png": 2 for name in ("bom", "utf16", "crlf", "cut")},
        "images/bad.png": 1,
        "images/none.png": None,
    }
    assert report["class_names"] == {"0": "Möwe", "1": "貝"}
    index = index_of(report)
    assert index["images/none.png"]["labels"] is None
    assert index["images/bom.png"]["labels"] == index["images/crlf.png"]["labels"]
    found = {(one["file"], one["line"], one["code"]) for one in report["label_problems"]}
    assert found >= {
        ("labels/bad.txt", 2, "coord_not_number"),
        ("labels/bad.txt", 3, "row_too_short"),
        ("labels/orphan.txt", None, "orphan_label"),
        ("labels/bom.txt", None, "bom"),
        ("labels/utf16.txt", None, "encoding_utf16"),
    }
