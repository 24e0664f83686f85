"""Collections and models: what models are run over, and which there are."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from deployments.web.dependencies import DatabaseDependency
from deployments.web.envelope import Answer, Page, answer
from deployments.web.errors import problems
from deployments.web.files.picture_answers import add_picture_routes
from deployments.web.files.pictures import PictureFile, picture_of_content
from storage.inference.collections import (
    CollectionRecord,
    find_collection,
    find_collection_file,
    list_collections,
)
from storage.inference.models import ModelRecord, list_models

router = APIRouter(tags=["collections and models"])

ContentId = Annotated[UUID, Path(description="Id of the content.")]
CollectionPath = Annotated[str, Path(max_length=4000, description="Name or id of the collection.")]


class Collection(BaseModel):
    """Images that models are run over."""

    id: UUID = Field(description="Id of the collection.")
    name: str = Field(description="What people call it; unique.")
    source: dict[str, Any] = Field(
        description="Where its images come from: a folder, or a query over projects."
    )
    image_count: int = Field(description="Images in it, equal contents once.")
    copies: int = Field(description="Further files with the content of one of these.")

    @classmethod
    def of(cls, record: CollectionRecord) -> Collection:
        """The collection of a record."""
        return cls(**vars(record))


class Model(BaseModel):
    """A model that somebody has registered on the command line."""

    id: UUID = Field(description="Id of the model.")
    name: str = Field(description="What people call it; unique.")
    weights_path: str = Field(description="Its file or folder on the server.")
    sha256: str = Field(description="Digest of the weights, by which they are known.")
    task: str = Field(description="What it finds: detect, segment, obb or pose.")
    class_names: list[str] = Field(description="Its classes, by their number from 0.")
    format: str = Field(description="Of the weights: pytorch, onnx or openvino.")
    image_size: int = Field(description="Longer side in pixels that it was made for.")
    created_at: datetime = Field(description="When it was registered.")

    @classmethod
    def of(cls, record: ModelRecord) -> Model:
        """The model of a record."""
        return cls(**{**vars(record), "weights_path": str(record.weights_path)})


@router.get("/collections", responses=problems())
def list_all_collections(database: DatabaseDependency) -> Answer[Page[Collection]]:
    """List all collections by name; there is one page."""
    items = [Collection.of(record) for record in list_collections(database)]
    return answer(Page[Collection](items=items, total=len(items)))


@router.get("/collections/{collection}", responses=problems(404))
def show_collection(database: DatabaseDependency, collection: CollectionPath) -> Answer[Collection]:
    """Show one collection."""
    return answer(Collection.of(find_collection(database, collection)))


@router.get("/models", responses=problems())
def list_all_models(database: DatabaseDependency) -> Answer[Page[Model]]:
    """List all registered models by name; there is one page.

    `visionflows models add` registers weights, on the server only: they can run code.
    """
    items = [Model.of(record) for record in list_models(database)]
    return answer(Page[Model](items=items, total=len(items)))


def _picture(
    database: DatabaseDependency, collection: CollectionPath, image_id: ContentId
) -> PictureFile:
    collection_id = find_collection(database, collection).id
    return picture_of_content(find_collection_file(database, collection_id, image_id))


add_picture_routes(
    router, "/collections/{collection}/images/{image_id}", _picture, name="collection_"
)
