"""Files that visionflows has generated: whose they are now, and removing them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.projects.ingests import GenerationRecord


def is_untouched(folder: Path, record: GenerationRecord) -> bool:
    """Whether a generated image and its label file are as they were made, or gone.

    What somebody has changed since is theirs: it is neither removed nor written over.
    """
    path = folder / record.relative_path
    return (
        _is_same(path, record.size, record.modified_at_ns, record.sha256) is not False
    ) and not has_edited_label(folder, record.generation)


def has_edited_label(folder: Path, generation: Mapping[str, Any]) -> bool:
    """Whether the label file that was made with an image has another content now."""
    label = generation.get("label_path")
    if not isinstance(label, str):
        return False
    stored = (generation[f"label_{name}"] for name in ("size", "modified_at_ns", "sha256"))
    return _is_same(folder / label, *stored) is False


def remove_generated_file(folder: Path, record: GenerationRecord) -> bool:
    """Remove a generated image and the label file made with it; False where it is not ours."""
    if not is_untouched(folder, record):
        return False
    # The label file first: killed in between, the next attempt still knows of it by the image.
    label = record.generation.get("label_path")
    if isinstance(label, str):
        (folder / label).unlink(missing_ok=True)
    (folder / record.relative_path).unlink(missing_ok=True)
    return True


def _is_same(path: Path, size: int, modified_at_ns: int, sha256: str) -> bool | None:
    """Whether a file is as recorded; None where it has gone. Only a touched file is read."""
    try:
        status = path.stat()
        if status.st_size != size:
            return False
        if status.st_mtime_ns == modified_at_ns:
            return True
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except (FileNotFoundError, NotADirectoryError):
        return None
