"""The files of a training set: a plan on disk, images and labels chunk by chunk, one rename.

A set is built in a folder with a dot before its name, beside the place where it will be. In there a
Parquet file holds the plan, one row group for each chunk of the work, so that a chunk needs
nothing but its number. The folder gets its name when everything is in it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import InvalidInputError
from storage.files import flush
from storage.files.places import ObjectPath, place_of
from tasks.labels.dataset.addresses import Split
from tasks.training_sets.plan import TrainingSetPlan

MANIFEST = "manifest.parquet"
_PLAN = "plan.parquet"
_METADATA = b"visionflows."
_ROWS_PER_BATCH = 10_000

MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("project", pa.string(), nullable=False),
        pa.field("project_image_id", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("relative_path", pa.string(), nullable=False),
        pa.field("image_path", pa.string(), nullable=False),
        pa.field("label_path", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("group", pa.int32(), nullable=False),
        pa.field("classes", pa.list_(pa.string()), nullable=False),
        pa.field("label_count", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
    ]
)
_PLAN_SCHEMA = pa.schema(
    [
        *MANIFEST_SCHEMA,
        pa.field("source", pa.string(), nullable=False),
        pa.field("file_size", pa.int64(), nullable=False),
        pa.field("modified_at_ns", pa.int64(), nullable=False),
        pa.field("label", pa.binary(), nullable=False),
    ]
)
# The file system, or its rules, do not allow a link: then a copy does.
_NO_LINK = {
    errno.EXDEV,
    errno.EPERM,
    errno.EACCES,
    errno.EMLINK,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EINVAL,
}


def write_plan(
    path: Path,
    plan: TrainingSetPlan,
    folders: Mapping[str, Path],
    chunks: Sequence[slice],
    metadata: Mapping[str, str],
) -> None:
    """Write a plan as a Parquet file.

    Chunks are together all images in their order. The metadata goes to the footer of the manifest,
    under `visionflows.<key>`.
    """
    texts = {
        "data_yaml": plan.data_yaml,
        "classes": json.dumps(plan.class_names),
        "metadata": json.dumps({**metadata, "content": plan.key}),
    }
    with pq.ParquetWriter(path, _PLAN_SCHEMA, compression="zstd") as writer:
        for chunk in chunks:
            rows = [
                {
                    "project": image.candidate.project,
                    "project_image_id": str(image.candidate.registered.image_id),
                    "sha256": image.candidate.registered.sha256,
                    "relative_path": image.candidate.registered.relative_path,
                    "image_path": image.image_path,
                    "label_path": image.label_path,
                    "split": image.split.value,
                    "group": image.group,
                    "classes": list(image.classes),
                    "label_count": image.label_count,
                    "width": image.candidate.width,
                    "height": image.candidate.height,
                    "source": str(
                        folders[image.candidate.project] / image.candidate.registered.relative_path
                    ),
                    "file_size": image.candidate.registered.file_size,
                    "modified_at_ns": image.candidate.registered.modified_at_ns,
                    "label": image.label,
                }
                for image in plan.images[chunk]
            ]
            table = pa.Table.from_pylist(rows, schema=_PLAN_SCHEMA)
            writer.write_table(table, row_group_size=max(len(rows), 1))
        writer.add_key_value_metadata(texts)


def begin_folder(folder: Path, plan_file: Path) -> None:
    """Make the folder that a set is built in, and move its plan there.

    Doing it again, after an attempt that was broken off, changes nothing.
    """
    for split in Split:
        for kind in ("images", "labels"):
            (folder / kind / split.value).mkdir(parents=True, exist_ok=True)
    if plan_file.exists():
        plan_file.replace(folder / _PLAN)


def planned_ids(folder: Path) -> list[list[str]]:
    """The ids of the project's images of each chunk."""
    with pq.ParquetFile(folder / _PLAN) as plan:
        return [
            plan.read_row_group(number, columns=["project_image_id"]).column(0).to_pylist()
            for number in range(plan.num_row_groups)
        ]


def planned_rows(folder: Path, chunk: int) -> list[dict[str, Any]]:
    """What is to be written in one chunk, in order."""
    with pq.ParquetFile(folder / _PLAN) as plan:
        rows: list[dict[str, Any]] = plan.read_row_group(chunk).to_pylist()
        return rows


def write_images(folder: Path, rows: Sequence[Mapping[str, Any]]) -> int:
    """Put images and their label files into the folder of a set, replacing; how many are links.

    Raises:
        InvalidInputError: an image has changed or gone since it was planned.
    """
    linked = 0
    for row in rows:
        linked += _place_image(
            place_of(row["source"]),
            folder / row["image_path"],
            (row["file_size"], row["modified_at_ns"]),
        )
        (folder / row["label_path"]).write_bytes(row["label"])
    return linked


def _place_image(source: Path, target: Path, expected: tuple[int, int]) -> bool:
    """Link or copy one image; True if it is a link.

    A JPEG that does not end as one is always copied: the trainer writes such files anew, and some
    of its releases do so in place, which would change the original as well.
    """
    target.unlink(missing_ok=True)
    try:
        if isinstance(source, ObjectPath):
            content, status = source.read_with_status()
            target.write_bytes(content or b"")
            is_link = False
        else:
            original = source.resolve(strict=True)
            is_link = not _would_be_rewritten(original) and _link(original, target)
            if not is_link:
                shutil.copyfile(original, target)
            status = original.stat()
    except FileNotFoundError:
        raise InvalidInputError(
            f"{source} has gone while the training set was made; run the command again."
        ) from None
    found = (status.st_size, status.st_mtime_ns)
    if found != expected or target.stat().st_size != status.st_size:
        raise InvalidInputError(
            f"{source} has changed while the training set was made; register its project anew "
            "with `visionflows run ingest-project`, and run the command again."
        )
    return is_link


def _link(original: Path, target: Path) -> bool:
    try:
        os.link(original, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False
    return True


def _would_be_rewritten(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(2) != b"\xff\xd8":
            return False
        file.seek(-2, os.SEEK_END)
        return file.read() != b"\xff\xd9"


def finish_folder(folder: Path, output: Path) -> None:
    """Write data.yaml, classes.txt and the manifest, and give the folder its name.

    Args:
        output: its name; nothing may be there, or an empty folder.

    Raises:
        InvalidInputError: something else has appeared under that name.
        RuntimeError: an image or a label file is not there.
    """
    with pq.ParquetFile(folder / _PLAN) as plan:
        texts = plan.metadata.metadata
        metadata = json.loads(texts[b"metadata"])
        paths = plan.read(columns=["image_path", "label_path"]).to_pydict()
        there = _files_of(folder)
        planned = (*paths["image_path"], *paths["label_path"])
        lost = [path for path in planned if path not in there]
        if lost:
            raise RuntimeError(f"{len(lost)} files of {folder} are not there, such as {lost[0]}.")
        with pq.ParquetWriter(folder / MANIFEST, MANIFEST_SCHEMA, compression="zstd") as writer:
            for batch in plan.iter_batches(_ROWS_PER_BATCH, columns=MANIFEST_SCHEMA.names):
                writer.write_batch(batch)
            writer.add_key_value_metadata(
                {_METADATA.decode() + key: value for key, value in metadata.items()}
            )
    (folder / "data.yaml").write_bytes(texts[b"data_yaml"])
    names = (" ".join(name.splitlines()) for name in json.loads(texts[b"classes"]))
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    (folder / _PLAN).unlink()
    for empty in (path for path in folder.glob("*/*") if not any(path.iterdir())):
        empty.rmdir()
    # One call for many thousand small files: to flush each would take minutes.
    os.sync()
    try:
        folder.rename(output)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise InvalidInputError(_occupied(output)) from None
    flush(output.parent)


def is_finished(output: Path, key: str) -> bool:
    """Whether the training set with this content is there already, whole.

    Raises:
        InvalidInputError: something else is there, or files of the set have been removed.
    """
    try:
        if not output.exists() or (output.is_dir() and not any(output.iterdir())):
            return False
    except OSError as error:
        raise InvalidInputError(f"{output} cannot be looked at: {error.strerror}.") from error
    if content_key(output) != key:
        raise InvalidInputError(_occupied(output))
    there = _files_of(output)
    lost = [
        path
        for batch in read_manifest(output)
        for column in ("image_path", "label_path")
        for path in batch[column].to_pylist()
        if path not in there
    ]
    if lost:
        raise InvalidInputError(
            f"{len(lost)} files of the training set {output} have been removed, such as "
            f"{lost[0]}. Remove the folder to have it made again."
        )
    return True


def _files_of(folder: Path) -> set[str]:
    """The images and label files of a set, relative to it."""
    folders = [f"{kind}/{split.value}" for kind in ("images", "labels") for split in Split]
    return {
        f"{inner}/{path.name}"
        for inner in folders
        if (folder / inner).is_dir()
        for path in (folder / inner).iterdir()
    }


def _occupied(output: Path) -> str:
    return f"{output} exists and holds something else; name another folder, or remove it."


def content_key(output: Path) -> str | None:
    """The key of the set in a folder; None where there is none."""
    try:
        metadata = pq.read_metadata(output / MANIFEST).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    found = metadata.get(_METADATA + b"content")
    return None if found is None else str(found.decode())


def read_manifest(output: Path) -> Iterator[pa.RecordBatch]:
    """The manifest of a set, some thousand rows at a time."""
    with pq.ParquetFile(output / MANIFEST) as manifest:
        yield from manifest.iter_batches(_ROWS_PER_BATCH)
