"""Finding out which project an ingest is for, and where its files come from."""

from __future__ import annotations

import shlex
from collections.abc import Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from storage.database.connection import Database
from storage.database.names import check_name
from storage.errors import InvalidInputError, NotFoundError
from storage.files.places import ObjectPath
from storage.projects.ingests import IngestRecord, list_ingests
from storage.projects.projects import ProjectRecord, find_project, list_projects
from storage.settings import get_settings
from tasks.projects.generated.options import GenerationOptions
from tasks.projects.ingest.project_folders import (
    ProjectFolders,
    id_for_name,
    id_of_folder,
    images_of_folder,
    read_project_name,
)
from tasks.projects.registration_steps import resolved_folder


@dataclass(frozen=True)
class IngestTarget:
    """The project that an ingest is for, and where its files come from.

    It need not be registered yet. `source` is None when there is nothing to copy. To `overwrite` is
    to take images of the source also where somebody has edited those of the project.
    """

    project_id: UUID
    name: str
    path: Path
    is_new: bool
    source: Path | None
    generate: GenerationOptions = field(default_factory=GenerationOptions)
    overwrite: bool = False

    @property
    def options_key(self) -> str:
        """Files that were staged with the same key can be used again."""
        return "|".join([str(self.source), *self.generate.wanted_keys()])

    def as_ingest(self) -> IngestRecord:
        """The ingest that it is the beginning of."""
        source = str(self.source or "")
        return IngestRecord(
            self.project_id, self.name, self.path, source, self.options_key, is_committing=False
        )


def project_folders() -> ProjectFolders:
    """The folders of projects under the home of visionflows."""
    return ProjectFolders(get_settings().projects_folder)


def find_target(
    database: Database,
    source: Path | None,
    project: str | None,
    *,
    copies: bool,
    generate: GenerationOptions,
) -> IngestTarget:
    """Find out which project an ingest is for, and where its files come from.

    Without a `source` (a folder or ZIP) the folder of a project is looked at again; without a
    `project` (name or id) it is named as its `meta.json`, folder or ZIP is. What is not copied
    becomes the project's folder itself.

    Raises:
        InvalidInputError: source and project do not fit together; the message says why.
        NotFoundError: there is neither a source nor a project of this name.
    """
    if source is None:
        if project is None:
            raise InvalidInputError("Name a source, a project, or both.")
        found = find_project(database, project)
        return IngestTarget(found.id, found.name, found.path, False, None, generate)
    path = resolved_folder(source)
    folders = project_folders()
    if folders.root.is_relative_to(path):
        raise InvalidInputError(f"{path} holds the projects themselves ({folders.root}).")
    name = project or _usable_name(path) or (path.name if path.is_dir() else path.stem)
    if folders.holds(path) and path.is_dir():
        owner = _owner(database, path)
        if owner is None:
            return _adopted(database, path, project, generate)
        if project in (None, owner.name, str(owner.id)):
            if path not in (owner.path, folders.folder_of(owner.path)):
                raise InvalidInputError(
                    f"{path} lies in the folder of project {owner.name!r}; "
                    f"`visionflows run ingest-project --project {shlex.quote(owner.name)}` "
                    "looks at all of it."
                )
            return IngestTarget(owner.id, owner.name, owner.path, False, None, generate)
    if not copies and isinstance(path, ObjectPath):
        raise InvalidInputError(f"{path} is in a bucket, which can only be copied.")
    if not copies:
        if not path.is_dir():
            raise InvalidInputError(f"{path} is not a folder; a ZIP file can only be copied.")
        return _target_in_place(database, path, name, generate)
    known = _find_by_name_or_id(database, name)
    if known is not None:
        if not folders.holds(known.path):
            raise InvalidInputError(
                f"The images of project {known.name!r} lie in {known.path}, which visionflows "
                "does not write to; copy into a project of another name."
            )
        return IngestTarget(
            known.id, known.name, known.path, False, images_of_folder(path), generate
        )
    check_name(name)
    project_id = id_for_name(name)
    return IngestTarget(
        project_id, name, folders.images(project_id), True, images_of_folder(path), generate
    )


def target_as_it_is_now(database: Database, target: IngestTarget) -> IngestTarget:
    """The same target; another run may have registered its project meanwhile."""
    is_registered = any(project.id == target.project_id for project in list_projects(database))
    return replace(target, is_new=not is_registered)


def find_targets_of_all_projects(database: Database) -> list[IngestTarget]:
    """One target for each registered project, and for each project folder that is not one yet."""
    projects = list_projects(database)
    nothing = GenerationOptions()
    targets = [
        IngestTarget(project.id, project.name, project.path, False, None, nothing)
        for project in projects
    ]
    known = {project.id for project in projects}
    ingests = list_ingests(database)
    # Broken off on their way into a new project: there is no way back, so they are finished.
    targets += [
        IngestTarget(one.project_id, one.project_name, one.project_path, True, None, nothing)
        for one in ingests
        if one.is_committing and one.project_id not in known
    ]
    ingesting = {ingest.project_id for ingest in ingests}
    taken = {target.name for target in targets}
    for folder in project_folders().unregistered({project.path for project in projects}):
        if id_of_folder(folder) in ingesting:
            continue  # its own ingest is about to register it, or will when it is run again
        target = _adopted(database, folder, None, nothing, taken=taken)
        taken.add(target.name)
        targets.append(target)
    return targets


def _adopted(
    database: Database,
    folder: Path,
    name: str | None,
    generate: GenerationOptions,
    taken: Set[str] = frozenset(),
) -> IngestTarget:
    """The target for a folder among the projects that somebody has put there."""
    images = images_of_folder(folder)
    if name is None:
        base = _usable_name(folder) or f"Imported Project {datetime.now(UTC).date().isoformat()}"
        names = {project.name for project in list_projects(database)} | taken
        name, number = base, 2
        while name in names:
            name, number = f"{base} ({number})", number + 1
    return _target_in_place(database, images, name, generate, id_of_folder(folder))


def _usable_name(folder: Path) -> str | None:
    """The name in the `meta.json` of a folder, if it can be that of a project."""
    name = read_project_name(folder)
    try:
        check_name(name or "")
    except InvalidInputError:
        return None
    return name


def _owner(database: Database, path: Path) -> ProjectRecord | None:
    """The registered project in whose folder a path lies, or which lies in that path."""
    for project in list_projects(database):
        is_ours = project_folders().holds(project.path)
        if is_ours and (project.path.is_relative_to(path) or path.is_relative_to(project.path)):
            return project
    return None


def _target_in_place(
    database: Database,
    folder: Path,
    name: str,
    generate: GenerationOptions,
    project_id: UUID | None = None,
) -> IngestTarget:
    """The target for a folder whose images stay where they are."""
    check_name(name)
    for project in list_projects(database):
        if (project.name == name) != (project.path == folder):
            raise InvalidInputError(
                f"Project {project.name!r} is registered with the folder {project.path}; "
                f"{folder} cannot be registered as {name!r}."
            )
        if project.path == folder:
            return IngestTarget(project.id, name, folder, False, None, generate)
    if project_id is None or project_id in {project.id for project in list_projects(database)}:
        project_id = id_for_name(name)
    return IngestTarget(project_id, name, folder, True, None, generate)


def _find_by_name_or_id(database: Database, name: str) -> ProjectRecord | None:
    try:
        return find_project(database, name)
    except NotFoundError:
        return None
