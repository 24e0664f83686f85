"""Collections and models: what runs are made of."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse

from deployments.web.dependencies import DatabaseDependency
from deployments.web.pages.rendering.routes import page_router
from deployments.web.pages.rendering.templates import page
from storage.inference.collections import list_collections
from storage.inference.models import list_models

router = page_router()


@router.get("/collections")
def show_collections(request: Request, database: DatabaseDependency) -> HTMLResponse:
    """All collections by name."""
    return page(request, "collections/list.html", collections=list_collections(database))


@router.get("/models")
def show_models(request: Request, database: DatabaseDependency) -> HTMLResponse:
    """All registered models by name."""
    return page(request, "collections/models.html", models=list_models(database))
