"""The images of projects: lists, one image with labels and neighbours, and the pictures."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from deployments.web.api.projects import ProjectPath
from deployments.web.dependencies import (
    CursorQuery,
    DatabaseDependency,
    LimitQuery,
)
from deployments.web.envelope import Answer, Page, answer, decode_cursor, encode_cursor
from deployments.web.errors import problems
from deployments.web.files.picture_answers import add_picture_routes
from deployments.web.files.pictures import PictureFile, picture_of_image
from storage.errors import InvalidInputError
from storage.projects.image_details import find_image, nearest_images
from storage.projects.image_pages import (
    ImageFilter,
    ImageRow,
    ImageSort,
    ListedIssue,
    ListedState,
    PlaceInOrder,
    SplitChoice,
    load_image_page,
)
from storage.projects.projects import find_project_id, load_class_names
from tasks.labels.annotations import Label
from tasks.labels.limit_steps import dataset_limits
from tasks.labels.single_image import read_labels_of_image
from tasks.projects.index_rows import label_values

router = APIRouter(tags=["images"])

ImageId = Annotated[UUID, Path(description="Id of the image.")]


class Image(BaseModel):
    """An image of a project."""

    id: UUID = Field(description="Id of the image.")
    project_id: UUID = Field(description="Its project.")
    relative_path: str = Field(description="Its path below the folder of the project.")
    filename: str = Field(description="The last part of it.")
    sha256: str = Field(description="Of its content.")
    state: ListedState = Field(description="measured, unmeasured, failed or missing.")
    split: str | None = Field(description="train, val or test; null where none is named.")
    is_labeled: bool = Field(description="Whether it has a label file that can be used.")
    label_count: int | None = Field(description="Objects in it; null without such a file.")
    width: int | None = Field(description="As displayed, in pixels; null where not known.")
    height: int | None = Field(description="Likewise.")
    format: str | None = Field(description="Such as JPEG; null where not known.")
    file_size: int = Field(description="In bytes.")
    missing_since: datetime | None = Field(description="When its file was first found gone.")
    duplicate_group: int | None = Field(description="Number of its group of near-duplicates.")
    issues: list[ListedIssue] = Field(description="What is wrong with it.")
    error_code: str | None = Field(description="Why it could not be measured, as a word.")
    error_message: str | None = Field(description="And as a sentence.")
    measures: dict[str, float | None] = Field(
        description="sharpness, focus, brightness, contrast, red_avg, green_avg, blue_avg, "
        "entropy, clipped_black, clipped_white, overall_quality, uniqueness; null where there is "
        "none."
    )

    @classmethod
    def of(cls, row: ImageRow) -> Image:
        """The image of a row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class ImagePage(Page[Image]):
    """Some images of a project, in the order that was asked for."""

    total_is_exact: bool = Field(
        description="Whether `total` was counted; else the statistics of the database say so."
    )


class Neighbour(BaseModel):
    """Another image of the project that looks like it."""

    id: UUID = Field(description="Id of that image.")
    relative_path: str = Field(description="Its path.")
    distance: int = Field(description="Bits of 64 by which the hashes differ; 0 is the same.")


class ImageLabel(BaseModel):
    """A label of an image, normalised: x over its width, y over its height."""

    class_name: str = Field(description="Its class.")
    class_id: int | None = Field(description="Number of the class; null in formats without.")
    geometry: Literal["box", "polygon", "oriented_box", "keypoints", "image"] = Field(
        description="What was drawn; `image` is the class of the whole image."
    )
    center_x: float = Field(description="Centre of the box around it.")
    center_y: float = Field(description="Likewise.")
    width: float = Field(description="Of that box.")
    height: float = Field(description="Likewise.")
    points: list[tuple[float, float]] | None = Field(
        description="The outline, corners or keypoints; null for a plain box."
    )
    visibility: list[int | None] | None = Field(
        description="Of keypoints: 0 not labelled, 1 hidden, 2 visible."
    )
    outlines: list[list[tuple[float, float]]] | None = Field(
        description="Outlines of an object with keypoints."
    )
    instance: int | None = Field(description="The same number for parts of one object.")
    is_crowd: bool = Field(description="Whether it is a group that nobody separated.")


class ImageDetail(Image):
    """One image with what its label file says, and the images that look like it."""

    label_path: str | None = Field(description="Of its label file, below the project's folder.")
    label_format: str | None = Field(description="Of that file: yolo, coco, ...")
    labels: list[ImageLabel] = Field(description="As its label file has them now.")
    label_problems: list[str] = Field(description="A sentence for whatever cannot be used there.")
    neighbours: list[Neighbour] = Field(
        description="The nearest images of the project by the kept hash, nearest first."
    )


_Value = Annotated[float | str | None, Field(union_mode="left_to_right")]


@router.get("/projects/{project}/images", responses=problems(404))
def list_images(
    database: DatabaseDependency,
    project: ProjectPath,
    issue: Annotated[ListedIssue | None, Query(description="Only with this issue.")] = None,
    split: Annotated[
        SplitChoice | None, Query(description="Only of this split, or of none.")
    ] = None,
    labeled: Annotated[bool | None, Query(description="Only with, or only without labels.")] = None,
    state: Annotated[
        ListedState | None,
        Query(description="Only these; present are all but the missing ones."),
    ] = None,
    duplicate_group: Annotated[
        int | None, Query(ge=0, lt=1 << 31, description="Only of this group.")
    ] = None,
    class_name: Annotated[
        str | None,
        Query(
            alias="class", max_length=4000, description="Only with a label of this class, by name."
        ),
    ] = None,
    at_least: Annotated[
        float | None,
        Query(
            description="Only where the value that they are sorted by is this or more.",
            allow_inf_nan=False,
        ),
    ] = None,
    below: Annotated[
        float | None,
        Query(
            description="Only where the value that they are sorted by is less.", allow_inf_nan=False
        ),
    ] = None,
    sort: Annotated[
        ImageSort, Query(description="In this order; images without the value come last.")
    ] = ImageSort.RELATIVE_PATH,
    descending: Annotated[bool, Query(description="The largest first.")] = False,
    total: Annotated[
        Literal["estimated", "exact"],
        Query(description="More than 10,000 images are estimated, unless exact is asked for."),
    ] = "estimated",
    cursor: CursorQuery = None,
    limit: LimitQuery = 100,
) -> Answer[ImagePage]:
    """List the images of a project, filtered and in an order, a page at a time."""
    place = decode_cursor(cursor, tuple[ImageSort, bool, _Value, UUID])
    if place is not None:
        kinds = (str,) if sort is ImageSort.RELATIVE_PATH else (float, type(None))
        if place[:2] != (sort, descending) or not isinstance(place[2], kinds):
            raise InvalidInputError(
                "This cursor belongs to another order; leave it out to begin with the first page."
            )
    page = load_image_page(
        database,
        find_project_id(database, project),
        ImageFilter(issue, split, labeled, state, duplicate_group, at_least, below, class_name),
        sort=sort,
        descending=descending,
        after=None if place is None else PlaceInOrder(place[2], place[3]),
        limit=limit,
        count_exactly=total == "exact",
    )
    return answer(
        ImagePage(
            items=[Image.of(row) for row in page.images],
            next=page.next
            and encode_cursor([sort, descending, page.next.value, page.next.image_id]),
            total=page.total,
            total_is_exact=page.total_is_exact,
        )
    )


@router.get("/images/{image_id}", responses=problems(404))
def show_image(
    database: DatabaseDependency,
    image_id: ImageId,
    neighbours: Annotated[int, Query(ge=0, le=100, description="Nearest images at most.")] = 12,
) -> Answer[ImageDetail]:
    """Show one image with its measures, its labels and the images that look like it."""
    details = find_image(database, image_id)
    row = details.image
    labels: list[Label] = []
    unusable: list[str] = []
    if row.label_path is not None:
        labels, unusable = read_labels_of_image(
            details.folder,
            row.relative_path,
            row.label_path,
            (row.width, row.height),
            load_class_names(database, row.project_id),
            dataset_limits(),
        )
    nearest = nearest_images(database, image_id, most=neighbours) if neighbours else []
    return answer(
        ImageDetail(
            **Image.of(row).model_dump(),
            label_path=row.label_path,
            label_format=row.label_format,
            labels=[ImageLabel.model_validate(label_values(label)) for label in labels],
            label_problems=unusable,
            neighbours=[
                Neighbour(
                    id=one.image.id, relative_path=one.image.relative_path, distance=one.distance
                )
                for one in nearest
            ],
        )
    )


def _picture(database: DatabaseDependency, image_id: ImageId) -> PictureFile:
    return picture_of_image(find_image(database, image_id))


add_picture_routes(router, "/images/{image_id}", _picture)
