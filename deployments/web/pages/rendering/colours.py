"""The colours of classes, which do not depend on seeing red and green apart."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.inference.runs.live_dead import folded
from tasks.inference.runs.overlays import colors_of_classes


def colours_of_classes(*names: Sequence[str]) -> dict[str, str]:
    """For each class by its name a colour as style sheets write it; the same name, the same one."""
    colours = colors_of_classes(*names)
    return {
        name: "#{:02x}{:02x}{:02x}".format(*colours[folded(name)]) for own in names for name in own
    }
