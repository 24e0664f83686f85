"""Projects: list, create, show, remove."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from deployments.web.dependencies import DatabaseDependency
from deployments.web.envelope import Answer, Page, answer
from deployments.web.errors import problems
from storage.projects.projects import ProjectRecord, find_project, list_projects

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


@router.get("", responses=problems())
def list_all_projects(database: DatabaseDependency) -> Answer[Page[Project]]:
    """List all projects by name; there is one page."""
    items = [Project.of(record) for record in list_projects(database)]
    return answer(Page[Project](items=items, total=len(items)))


@router.get("/{project}", responses=problems(404))
def show_project(database: DatabaseDependency, project: ProjectPath) -> Answer[Project]:
    """Show one project."""
    return answer(Project.of(find_project(database, project)))
