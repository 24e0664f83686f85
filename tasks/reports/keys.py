"""Keys of artifacts."""

from __future__ import annotations

import re

_LONGEST_SLUG = 60


def artifact_key(kind: str, name: str, fallback: str) -> str:
    """A key that Prefect accepts: lower-case letters, digits and dashes; not too long to show.

    `fallback`, an id, is added where the name alone would not tell subjects apart.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:_LONGEST_SLUG].strip("-")
    if slug != name:
        slug = f"{slug}-{fallback[:8]}".strip("-")
    return f"{kind}-{slug}"
