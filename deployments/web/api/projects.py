"""Projects: list, create, show, remove."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from deployments.web.api.jobs import Job
from deployments.web.dependencies import DatabaseDependency, SettingsDependency
from deployments.web.envelope import Answer, Page, answer
from deployments.web.errors import problems
from deployments.web.removal import Removal, planned_removal, remove_thing
from deployments.web.starting import start_flow
from flows.ingest_project import IngestMode, job_parameters
from storage.database.tables.jobs import JobKind
from storage.database.tables.removals import RemovalNoun
from storage.errors import InvalidInputError
from storage.projects.projects import ProjectRecord, find_project, list_projects
from storage.settings import check_within_data_roots
from tasks.projects.generated.options import GenerationOptions
from tasks.projects.ingest.target_steps import find_target

router = APIRouter(prefix="/projects", tags=["projects"])

ProjectPath = Annotated[str, Path(max_length=4000, description="Name or id of the project.")]


class Project(BaseModel):
    """A registered project."""

    id: UUID = Field(description="Id of the project.")
    name: str = Field(description="What people call it; unique.")
    path: str = Field(description="Its folder on the server.")
    image_count: int = Field(description="Images whose files are there.")
    missing_count: int = Field(description="Images whose files were gone at the last look.")
    labeled_count: int = Field(description="Images with a label file that can be used.")
    class_names: dict[str, str] = Field(description="Names of the classes, by their number.")

    @classmethod
    def of(cls, record: ProjectRecord) -> Project:
        """The project of a record."""
        return cls(**{**vars(record), "path": str(record.path)})


class NewProject(BaseModel):
    """A folder that is to become a project; its images stay where they are."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "mussels", "path": "/images/mussels"}]},
    )

    name: str = Field(min_length=1, max_length=200, description="A name of your choice; unique.")
    path: str = Field(
        min_length=1,
        max_length=4000,
        description="The folder on the server, inside the data roots (VISIONFLOWS_DATA_ROOTS).",
    )


@router.get("", responses=problems())
def list_all_projects(database: DatabaseDependency) -> Answer[Page[Project]]:
    """List all projects by name; there is one page."""
    items = [Project.of(record) for record in list_projects(database)]
    return answer(Page[Project](items=items, total=len(items)))


@router.post("", status_code=202, responses=problems(404))
def create_project(
    database: DatabaseDependency, settings: SettingsDependency, body: NewProject
) -> Answer[Job]:
    """Have a folder become a project; it is there when the job that answers has completed.

    The subject of the job is the id of the project.
    """
    folder = check_within_data_roots(FilePath(body.path), for_deployment=True, settings=settings)
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is not a folder on the server.")
    target = find_target(database, folder, body.name, copies=False, generate=GenerationOptions())
    started = start_flow(
        database,
        settings,
        "ingest-project",
        {"source": str(folder), "project": body.name, "mode": IngestMode.LINK.value},
        kind=JobKind.INGEST_PROJECT,
        subject=str(target.project_id),
        job_parameters=job_parameters(target),
    )
    said = "The folder is being read." if started.is_new else "It is being read already."
    return answer(Job.of(started.job), said)


@router.get("/{project}", responses=problems(404))
def show_project(database: DatabaseDependency, project: ProjectPath) -> Answer[Project]:
    """Show one project."""
    return answer(Project.of(find_project(database, project)))


@router.get("/{project}/removal", responses=problems(404))
def plan_project_removal(database: DatabaseDependency, project: ProjectPath) -> Answer[Removal]:
    """Say what would go with a project; nothing is changed."""
    return answer(planned_removal(database, RemovalNoun.PROJECT, project))


@router.delete("/{project}", responses=problems(404, 409))
def remove_project(database: DatabaseDependency, project: ProjectPath) -> Answer[Removal]:
    """Remove a project: its rows and, where visionflows keeps its files, these too."""
    removal = remove_thing(database, RemovalNoun.PROJECT, project)
    return answer(removal, f"The project {removal.name} is removed.")
