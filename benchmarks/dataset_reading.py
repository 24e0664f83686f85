"""Compare reading the YOLO labels of a dataset with a plain loop over its files.

Run `python -m benchmarks.dataset_reading [--images 50000] [--repeat 3]`.

Writes a folder of images with labels and the same as a release into a temporary folder, then
measures, each in a process of its own: a loop with pathlib and `float(split())` that finds the
label beside each image and checks nothing; finding the dataset from its paths alone; what
ingest-project does (plan, labels, problems); the same with every label made into an object; and the
reader of releases. All but the last list the folder first. Seconds are CPU seconds beyond start-up,
the best of all repeats; ratios are to the loop.
"""

from __future__ import annotations

import random
import tempfile
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.harness import measure_apart, parse_arguments, print_table

SEED = 5
SPLITS = ("train", "train", "train", "train", "val", "test")


def make_dataset(folder: Path, images: int) -> None:
    """Write images with labels, 0 to 11 boxes each, as files and as an archive."""
    import cv2

    numbers = random.Random(SEED)
    picture = cv2.imencode(".jpg", np.full((16, 16, 3), 90, np.uint8))[1].tobytes()
    for split in set(SPLITS):
        for kind in ("images", "labels"):
            (folder / "dataset" / kind / split).mkdir(parents=True)
    with zipfile.ZipFile(folder / "release.zip", "w") as archive:
        classes = ", ".join(f"c{i}" for i in range(20))
        splits = "".join(f"{split}: images/{split}\n" for split in set(SPLITS))
        contents: dict[str, bytes] = {"data.yaml": f"names: [{classes}]\n{splits}".encode()}
        for number in range(images):
            path = f"{SPLITS[number % len(SPLITS)]}/image_{number:07}"
            rows = (
                [numbers.randrange(20), *(numbers.uniform(0.2, 0.4) for _ in range(4))]
                for _ in range(numbers.randrange(12))
            )
            # Each of its own content.
            contents[f"images/{path}.jpg"] = picture + f"{number:07}".encode()
            lines = ("{} {:.6f} {:.6f} {:.6f} {:.6f}\n".format(*row) for row in rows)
            contents[f"labels/{path}.txt"] = "".join(lines).encode()
        for name, content in contents.items():
            archive.writestr(f"release/{name}", content)
            (folder / "dataset" / name).write_bytes(content)


def plain_loop(folder: Path) -> str:
    """Read every number of the label beside each image."""
    rows = 0
    for image in sorted((folder / "dataset").rglob("*.jpg")):
        split, name = image.parent.name, image.stem
        label = folder / "dataset" / "labels" / split / f"{name}.txt"
        if label.exists():
            for line in label.read_text().splitlines():
                rows += bool([float(word) for word in line.split()])
    return f"{rows} objects"


def paths_alone(folder: Path) -> str:
    """Find images, labels, and which belong together."""
    from tasks.images.folder_scan import scan_image_folder
    from tasks.labels.dataset.layouts import find_dataset

    scan = scan_image_folder(folder / "dataset")
    found = find_dataset([file.relative_path for file in (*scan.files, *scan.label_files)])
    return f"{sum(map(bool, found.labels))} pairs"


def ingest(folder: Path, *, make_labels: bool = False) -> str:
    """Read all labels as ingest-project does."""
    from tasks.images.folder_scan import scan_image_folder
    from tasks.labels.folder_labels import read_folder_labels

    scan = scan_image_folder(folder / "dataset")
    found = read_folder_labels(folder / "dataset", scan, lambda _: None)
    own = [image.labels for image in found.images if image.labels]
    objects = sum(sum(1 for _ in one.labels) if make_labels else len(one.labels) for one in own)
    return f"{objects} objects, {len(list(found.all_problems()))} problems"


def ingest_and_look(folder: Path) -> str:
    """The same, and look at every label."""
    return ingest(folder, make_labels=True)


def release(folder: Path) -> str:
    """Find everything in the archive."""
    from tasks.releases.scan import scan_release

    found = scan_release(folder / "release.zip")
    return f"{sum(split.instances for split in found.shapes.splits)} objects"


def by_supervision(folder: Path) -> str:
    """Read every split as its users do."""
    import supervision

    objects = 0
    for split in sorted(set(SPLITS)):
        found = supervision.DetectionDataset.from_yolo(
            str(folder / "dataset" / "images" / split),
            str(folder / "dataset" / "labels" / split),
            str(folder / "dataset" / "data.yaml"),
        )
        objects += sum(map(len, found.annotations.values()))
    return f"{objects} objects"


def by_the_trainer(folder: Path) -> str:
    """Look at every image and label as Ultralytics does before a training."""
    from tasks.inference.model.quiet_ultralytics import import_ultralytics

    import_ultralytics(folder / "settings")
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    about = check_det_dataset(str(folder / "dataset" / "data.yaml"), autodownload=False)
    objects = 0
    for split in sorted(set(SPLITS)):
        for cache in (folder / "dataset").rglob("*.cache"):
            cache.unlink()
        place = str(folder / "dataset" / "images" / split)
        found = YOLODataset(img_path=place, data=about, augment=False, imgsz=32)
        objects += sum(len(label["cls"]) for label in found.labels)
    return f"{objects} objects"


def main() -> None:
    """Make the dataset, measure, print."""
    arguments = parse_arguments(__doc__, images=50_000, repeat=3)
    ways: dict[str, Callable[[Path], str]] = {
        "pathlib, float(split())": plain_loop,
        "paths alone": paths_alone,
        "ingest": ingest,
        "ingest, every label made": ingest_and_look,
        "release": release,
        "Ultralytics, before a training": by_the_trainer,
    }
    if find_spec("supervision"):
        ways["supervision, DetectionDataset.from_yolo"] = by_supervision
    else:
        print("supervision is not installed: its row is left out.")
    with tempfile.TemporaryDirectory() as temporary:
        tiny, whole = Path(temporary) / "tiny", Path(temporary) / "whole"
        make_dataset(tiny, 20)
        make_dataset(whole, arguments.images)
        found = {
            name: measure_apart(way, whole, warm_up=tiny, turns=arguments.repeat)
            for name, way in ways.items()
        }
    first = found["pathlib, float(split())"].times.cpu
    rows = [
        [name, f"{one.times.cpu:.3f}", f"{first / one.times.cpu:.1f}x", f"{one.growth:.0f}",
         one.result]
        for name, one in found.items()
    ]  # fmt: skip
    headings = ("way", "CPU s", "as fast", "MiB", "found")
    print_table(f"{arguments.images} labelled images", headings, rows)


if __name__ == "__main__":
    main()
