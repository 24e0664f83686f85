"""Sessions: lists with completion bars, contact sheets, and grids of variations."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from deployments.web.api.sessions import (
    SessionEdit,
    SessionPath,
    edit_one_session,
    list_all_sessions,
    show_session,
)
from deployments.web.dependencies import CursorQuery, DatabaseDependency
from deployments.web.envelope import decode_cursor, encode_cursor
from deployments.web.pages.rendering.routes import page_router
from deployments.web.pages.rendering.templates import address, page
from storage.errors import NotFoundError
from tasks.sessions.manifest.varied_images import (
    VariedImage,
    count_values,
    list_session_images,
)

router = page_router()

_LIMIT = 60
_MOST_ROWS, _MOST_COLUMNS, _MOST_IN_CELL = 40, 12, 4
_MARK = "#"
SEED, ALL = f"{_MARK}seed", f"{_MARK}all"
"""What rows and columns of a grid may be besides placeholders; all are one column."""
_TITLES = {SEED: "seed of the image", ALL: "all images"}

Text = Annotated[str | None, Query(max_length=4000)]


@router.get("/sessions")
def show_sessions(
    request: Request,
    database: DatabaseDependency,
    model: Text = None,
    tag: Text = None,
    since: datetime | None = None,
    incomplete: bool = False,
    sweeps: bool = False,
    missing: bool = False,
    cursor: CursorQuery = None,
) -> HTMLResponse:
    """Sessions, the newest first, with how complete they are."""
    found = list_all_sessions(
        database,
        model=model,
        incomplete=incomplete,
        sweeps=sweeps,
        since=since,
        tag=tag,
        missing=missing,
        cursor=cursor,
        limit=_LIMIT,
    ).data
    return page(
        request,
        "sessions/list.html",
        sessions=found.items,
        next=found.next,
        chosen={
            "model": model,
            "tag": tag,
            "since": None if since is None else since.date().isoformat(),
            "incomplete": incomplete or None,
            "sweeps": sweeps or None,
            "missing": missing or None,
            "cursor": cursor,
        },
    )


@router.post("/session-edit")
def edit_session_by_form(
    database: DatabaseDependency,
    session_id: Annotated[str, Form(max_length=4000)],
    rating: Annotated[int | None, Form(ge=0, le=5)] = None,
    add_tag: Annotated[str, Form(max_length=100)] = "",
    remove_tag: Annotated[str, Form(max_length=100)] = "",
    add_flag: Annotated[str, Form(max_length=100)] = "",
    remove_flag: Annotated[str, Form(max_length=100)] = "",
    note: Annotated[str | None, Form(max_length=20_000)] = None,
) -> Response:
    """Rate a session (0 takes it back), give or take a tag or a flag, or change its note."""
    words = {
        "add_tags": add_tag.strip(),
        "remove_tags": remove_tag,
        "add_flags": add_flag.strip(),
        "remove_flags": remove_flag,
    }
    changes: dict[str, object] = {name: [word] for name, word in words.items() if word}
    if rating is not None:
        changes["rating"] = rating or None
    if note is not None:
        changes["note"] = note
    edit_one_session(database, session_id, SessionEdit.model_validate(changes))
    return RedirectResponse(_address(session_id), 303)


@router.get("/session-grid")
def show_grid(
    request: Request,
    database: DatabaseDependency,
    session_id: Annotated[str, Query(max_length=4000)],
    rows: Text = None,
    columns: Text = None,
) -> HTMLResponse:
    """Images by the values of two placeholders, or of one and the seed."""
    session = show_session(database, session_id).data
    images = list_session_images(Path(session.session_path))
    placeholders = {_axis(name): name for name in count_values(images)}
    names = [*placeholders, SEED]
    rows = rows if rows in names else names[0]
    if columns not in names or columns == rows:
        columns = next((name for name in names if name != rows), ALL)
    shown_rows, shown_columns = _values(images, rows), _values(images, columns)
    cells: dict[tuple[str, str], list[VariedImage]] = {}
    for image in images:
        row, column = _value(image, rows), _value(image, columns)
        if row is not None and column is not None:
            cells.setdefault((row, column), []).append(image)
    return page(
        request,
        "sessions/grid.html",
        session=session,
        titles={**placeholders, **_TITLES},
        names=names,
        rows=rows,
        columns=columns,
        row_values=shown_rows[:_MOST_ROWS],
        column_values=shown_columns[:_MOST_COLUMNS],
        more_rows=max(len(shown_rows) - _MOST_ROWS, 0),
        more_columns=max(len(shown_columns) - _MOST_COLUMNS, 0),
        cells=cells,
        most=_MOST_IN_CELL,
        session_address=_address(session_id),
    )


# Any word may be the id of a session: nothing else lies below.
@router.get("/sessions/{session_id:path}")
def show_one_session(
    request: Request,
    database: DatabaseDependency,
    session_id: SessionPath,
    cursor: CursorQuery = None,
) -> HTMLResponse:
    """A session: its facts, what people say of it, and a contact sheet."""
    session = show_session(database, session_id).data
    (start,) = decode_cursor(cursor, tuple[int]) or (0,)
    start = max(start, 0)
    images: list[VariedImage] = []
    gone = ""
    try:
        images = list_session_images(Path(session.session_path))
    except NotFoundError as error:
        gone = str(error)
    end = start + _LIMIT
    return page(
        request,
        "sessions/session.html",
        session=session,
        images=images[start:end],
        image_count=len(images),
        gone=gone,
        next=encode_cursor([end]) if end < len(images) else None,
        chosen={"cursor": cursor},
        grid=address("/session-grid", {"session_id": session_id}),
    )


def _address(session_id: str) -> str:
    return f"/sessions/{quote(session_id)}"


def _axis(placeholder: str) -> str:
    """What a placeholder is called in the address, where no other axis is called so."""
    return f"{_MARK}{placeholder}" if placeholder.startswith(_MARK) else placeholder


def _value(image: VariedImage, name: str) -> str | None:
    if name == ALL:
        return _TITLES[ALL]
    if name == SEED:
        return None if image.seed is None else str(image.seed)
    return image.values.get(name.removeprefix(_MARK) if name.startswith(_MARK * 2) else name)


def _values(images: list[VariedImage], name: str) -> list[str]:
    """The values of a placeholder, or the seeds, in the order in which they come first."""
    return list(
        dict.fromkeys(value for image in images if (value := _value(image, name)) is not None)
    )
