"""What one run of inference is to do, as plain values that every task of it gets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tasks.inference.detection.thresholds import settings_key
from tasks.inference.detections import InferenceSettings
from tasks.inference.runs.live_dead import LiveDeadClasses


@dataclass(frozen=True)
class RunOrder:
    """A model, a collection, a threshold, and how to go about it.

    Detections must be more confident than `threshold`, 0..1, to be counted. A mapping of None chose
    the names live and dead; a `batch_size` of None is what suits the model.
    """

    run_id: UUID
    collection_id: UUID
    model_id: UUID
    weights_path: Path
    sha256: str
    class_names: tuple[str, ...]
    threshold: float
    settings: InferenceSettings
    classes: LiveDeadClasses
    class_mapping: dict[str, str] | None
    device: str
    precision: str
    batch_size: int | None

    @property
    def settings_key(self) -> str:
        """Name of everything but the floor that decides what is found."""
        return settings_key(self.settings, self.precision)

    @property
    def counted_classes(self) -> str:
        """Name of what counts as live and as dead: with another one a result is counted again."""
        return json.dumps([sorted(self.classes.live), sorted(self.classes.dead)])
