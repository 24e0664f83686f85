"""Compiled modules, which `pip install` makes where it finds a C compiler.

Without them everything works, and every number is the same bit for bit, but takes longer. The
environment variable VISIONFLOWS_COMPILED=0 does without them although they are there.
"""

from __future__ import annotations

import importlib
import os


def find_compiled(name: str) -> object | None:
    """The compiled module of this name, if this installation has it and it is wanted."""
    if os.environ.get("VISIONFLOWS_COMPILED") == "0":
        return None
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
