"""Names of checkpoints, as generators write them."""

from __future__ import annotations

import re

# Behind a file's name any word in brackets is the hash; elsewhere it must look like one.
_WITH_HASH = re.compile(
    r"(?P<name>.*\S)\s*\[(?P<hash>[0-9A-Fa-f]{6,64}"
    r"|(?<=\.safetensors\s\[)\w{1,64}|(?<=\.ckpt\s\[)\w{1,64})\]",
    re.DOTALL,
)
_UNKNOWN = frozenset(["", "unknown", "none", "null"])


def split_model_name(text: str | None) -> tuple[str | None, str | None]:
    """Split `name.safetensors [hash]` into name and hash in lower case.

    None is what is not there, and a model of which a generator says that it is unknown.
    """
    name = (text or "").strip()
    found = _WITH_HASH.fullmatch(name)
    model_hash = None
    if found:
        name, model_hash = found["name"], found["hash"].lower()
    return (None if name.lower() in _UNKNOWN else name), model_hash
