"""Making values of unknown origin storable: PostgreSQL takes neither NUL nor half characters."""

from __future__ import annotations

import math
from typing import Any


def storable_text(value: str, *, longest: int | None = None) -> str:
    r"""A text as PostgreSQL can hold it.

    NUL becomes `\0`, and the stray bytes of a file name that is not UTF-8 become `\udc..`.
    """
    value = value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
    return value[:longest]


def storable_json(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A JSON value as PostgreSQL can hold it: texts as above, and null for NaN and infinity."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {storable_json(key): storable_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(item) for item in value]
    return value
