"""Names that people give to projects, collections, models and releases, and finding by them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TypeVar
from uuid import UUID

from storage.errors import InvalidInputError, NotFoundError

_NOT_IN_NAMES = frozenset(["Cc", "Cs", "Zl", "Zp"])
_MOST_TOLD = 10
Found = TypeVar("Found")


def check_name(name: str, *, longest: int | None = None) -> None:
    """Refuse names that people could not type, read, or tell from an id.

    Raises:
        InvalidInputError: the name cannot be used.
    """
    if not name.strip() or name != name.strip():
        raise InvalidInputError(f"{name!r} is not a name: it is empty or has blanks around it.")
    if longest is not None and len(name) > longest:
        raise InvalidInputError(f"{name!r} is not a name: it is longer than {longest} characters.")
    if any(unicodedata.category(character) in _NOT_IN_NAMES for character in name):
        raise InvalidInputError(
            f"{name!r} is not a name: it has line breaks or other characters that cannot be shown."
        )
    try:
        UUID(name)
    except ValueError:
        return
    raise InvalidInputError(f"{name!r} is not a name: it could be mistaken for an id.")


def id_by_key(table: str) -> str:
    """SQL for the id of the row that `:key` is the name or the id of; of both, that of the id."""
    return (
        f"(SELECT id FROM {table} WHERE name = :key OR id::text = :key "
        "ORDER BY id::text = :key DESC LIMIT 1)"
    )


def id_beginning(key: str, what: str, hint: str) -> str:
    """What people give of an id, as it is looked for; `hint` says where ids are shown.

    Raises:
        NotFoundError: no id looks so.
    """
    beginning = key.strip().lower()
    if not beginning or not all(character in "0123456789abcdef-" for character in beginning):
        raise NotFoundError(f"{key!r} is not the id of a {what}; {hint}")
    return beginning


def only_one(found: Sequence[Found], what: str, key: str, hint: str) -> Found:
    """The one thing whose id begins so.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: several begin so.
    """
    if not found:
        raise NotFoundError(f"There is no {what} {key!r}; {hint}")
    if len(found) > 1:
        raise InvalidInputError(f"Several {what}s begin with {key!r}; give more of the id.")
    return found[0]


def no_such(what: str, key: str, names: Iterable[str], remedy: str) -> NotFoundError:
    """The error for a key that nothing has; it tells those that exist, or how to make the first."""
    told = ", ".join(list(names)[:_MOST_TOLD])
    known = f"Registered {what}s: {told}." if told else f"No {what} is registered yet: {remedy}"
    return NotFoundError(f"There is no {what} {key!r}. {known}")
