"""What routes ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request

from storage.database.connection import Database, open_database
from storage.settings import Settings


# Both give what is there already: no thread is needed for it, as a plain function would get.
async def _settings(request: Request) -> Settings:
    settings = request.app.state.settings
    assert isinstance(settings, Settings)
    return settings


SettingsDependency = Annotated[Settings, Depends(_settings)]


async def _database(settings: SettingsDependency) -> Database:
    return open_database(settings)


DatabaseDependency = Annotated[Database, Depends(_database)]
CursorQuery = Annotated[
    str | None, Query(max_length=4000, description="`next` of the page before; first page without.")
]
LimitQuery = Annotated[int, Query(ge=1, le=500, description="Most entries of a page.")]
