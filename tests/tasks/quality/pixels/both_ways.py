"""Measuring with the compiled passes and without them."""

import importlib
import importlib.util
from types import ModuleType

import pytest

from tasks.quality.pixels import pixel_kernels

MODULE = "tasks.quality.pixels._pixel_kernels"


def built(module: str) -> list[ModuleType]:
    """The extension, whatever the environment chose, or nothing where it was not built."""
    return [importlib.import_module(module)] if importlib.util.find_spec(module) else []


def compiled_passes() -> list[ModuleType]:
    """The passes over pixels, where they were built."""
    return built(MODULE)


def in_both_ways(compute):
    """The result with the fallback and, where it was built, with the extension."""
    results = []
    for kernels in [None, *compiled_passes()]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pixel_kernels, "KERNELS", kernels)
            results.append(compute())
    return results
