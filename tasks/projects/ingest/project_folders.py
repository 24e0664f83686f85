"""The folders of projects that visionflows keeps: `projects/<id>/raw_data` and `meta.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

# Another value would give every project that is not ingested yet another id.
_NAMES = uuid5(NAMESPACE_URL, "visionflows:project")
_STAGING = ".staging"
_RAW_DATA = "raw_data"
_META = "meta.json"


@dataclass(frozen=True)
class ProjectFolders:
    """Where projects and their staged files lie; `root` is `$VISIONFLOWS_HOME/projects`."""

    root: Path

    def images(self, project_id: UUID) -> Path:
        """The folder of the images and labels of a project."""
        return self.root / str(project_id) / _RAW_DATA

    def meta(self, project_id: UUID) -> Path:
        """The file with the name of a project."""
        return self.root / str(project_id) / _META

    def staging(self, project_id: UUID) -> Path:
        """Where the files of an ingest lie until they are committed; on the same file system."""
        return self.root / _STAGING / str(project_id)

    def folder_of(self, images: Path) -> Path:
        """The project folder whose images lie in a folder: that folder, or the one above it."""
        return images.parent if images.name == _RAW_DATA else images

    def holds(self, folder: Path) -> bool:
        """Whether a folder is one of the project folders, or lies in one."""
        return folder.is_relative_to(self.root) and folder != self.root

    def unregistered(self, registered: set[Path]) -> list[Path]:
        """The project folders that no registered project has, by name."""
        if not self.root.is_dir():
            return []
        return [
            folder
            for folder in sorted(self.root.iterdir())
            if folder.is_dir()
            and not folder.name.startswith(".")
            and not any(path.is_relative_to(folder) for path in registered)
        ]


def id_for_name(name: str) -> UUID:
    """The id of a project that is not registered yet: the same for everybody who ingests it.

    So two first ingests of one name know of each other, and a broken one is found again.
    """
    return uuid5(_NAMES, name)


def id_of_folder(folder: Path) -> UUID | None:
    """The id in the name of a project folder; None where the name is no id."""
    try:
        return UUID(folder.name)
    except ValueError:
        return None


def images_of_folder(folder: Path) -> Path:
    """Where a project folder has its images: in `raw_data`, or in itself."""
    return folder / _RAW_DATA if (folder / _RAW_DATA).is_dir() else folder


def read_project_name(folder: Path) -> str | None:
    """The name in the `meta.json` of a project folder; None without a usable one."""
    try:
        content = json.loads((folder / _META).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    name = content.get("name") if isinstance(content, dict) else None
    return name.strip() or None if isinstance(name, str) else None


def meta_document(project_id: UUID, name: str) -> bytes:
    """The content of `meta.json`."""
    document = {"id": str(project_id), "name": name}
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode(
        "utf-8", "backslashreplace"
    )
