"""Small release archives for tests, and what they hold counted by other means."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

ROWS = {
    "train/a": "0 0.5 0.5 0.2 0.2\n1 0.3 0.3 0.1 0.1\n",
    "train/b": "0 0.4 0.4 0.2 0.2\n",
    "val/c": "1 0.5 0.5 0.3 0.3\n",
    "test/d": "1 0.6 0.6 0.2 0.2\n",
}
YAML = (
    "path: .\ntrain: images/train\nval: images/val\ntest: images/test\nnc: 2\nnames: [cat, dog]\n"
)


def sound_dataset() -> dict[str, bytes]:
    """Four images, five objects, nothing wrong; every image has other bytes."""
    files = {"data.yaml": YAML.encode()}
    for name, rows in ROWS.items():
        files[f"images/{name}.jpg"] = f"picture {name}".encode()
        files[f"labels/{name}.txt"] = rows.encode()
    return files


def write_zip(path: Path, files, *, method=zipfile.ZIP_DEFLATED, comment=b"") -> Path:
    """Write an archive; `files` is a dictionary or pairs of name (or ZipInfo) and content."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
        archive.comment = comment
    return path


def totals(statistics) -> tuple[tuple[int, int, int], int, int]:
    """Images per split, objects as written, objects that the trainer keeps."""
    return (
        (statistics.train_image_count, statistics.val_image_count, statistics.test_image_count),
        sum(split.instances for split in statistics.shapes.splits),
        sum(split.trainable_instances for split in statistics.shapes.splits),
    )


def with_odd_name(path: Path, name: str) -> Path:
    """A sound dataset and one more member, whose name the standard library would change."""
    with zipfile.ZipFile(path, "w") as archive:
        for sound, content in sound_dataset().items():
            archive.writestr(sound, content)
        entry = zipfile.ZipInfo("x")
        entry.filename = name
        archive.writestr(entry, b"x")
    return path


def with_record_field(path: Path, name: bytes, field: int, layout: str, value: int) -> None:
    """Overwrite a field of one member's record in the directory."""
    data = bytearray(path.read_bytes())
    start = data.rindex(name) - 46
    assert data[start : start + 4] == b"PK\1\2"
    struct.pack_into(layout, data, start + field, value)
    path.write_bytes(bytes(data))
