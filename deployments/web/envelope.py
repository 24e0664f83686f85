"""What every answer looks like, and how long lists are cut into pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from storage.errors import InvalidInputError

T = TypeVar("T")


class Answer(BaseModel, Generic[T]):
    """What a request has given."""

    success: bool = Field(default=True, description="True: the request was done.")
    message: str = Field(default="", description="One sentence for people; often empty.")
    data: T = Field(description="What was asked for.")


class Problem(BaseModel):
    """Why a request was not done."""

    success: bool = Field(default=False, description="False: nothing was done.")
    message: str = Field(description="One sentence: what is wrong, and what to do.")
    data: None = Field(default=None, description="Nothing.")


class Page(BaseModel, Generic[T]):
    """Some of a list, in its order."""

    items: list[T] = Field(description="The entries of this page.")
    next: str | None = Field(
        default=None, description="Give it as `cursor` for the next page; null at the end."
    )
    total: int | None = Field(
        default=None, description="How many entries there are on all pages; null if not counted."
    )


def answer(data: T, message: str = "") -> Answer[T]:
    """Data in the envelope of a request that was done."""
    return Answer[Any](data=data, message=message)


def encode_cursor(values: Sequence[object]) -> str:
    """The values that the last row of a page is sorted by (JSON values, times, ids), for a URL."""
    text = json.dumps(list(values), separators=(",", ":"), default=str)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, kind: type[T]) -> T | None:
    """The values of a cursor, checked to be of a type such as `tuple[datetime, UUID]`.

    Raises:
        InvalidInputError: it is none that a page has given.
    """
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(
            cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        )
        return TypeAdapter(kind).validate_json(raw)
    except (binascii.Error, UnicodeError, ValidationError):
        raise InvalidInputError(
            "This cursor is none that a page has given; leave it out to begin with the first page."
        ) from None
