"""Looking up what a run of inference is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from storage.database.connection import Database
from storage.inference.collections import find_collection
from storage.inference.models import find_model
from storage.inference.runs import find_or_add_run
from storage.settings import get_settings
from tasks.inference.detection.thresholds import rounded_threshold
from tasks.inference.detections import (
    DEFAULT_FLOOR_CONFIDENCE,
    DEFAULT_MAX_DETECTIONS,
    InferenceSettings,
    WeightsFormat,
)
from tasks.inference.model.devices import choose_device, precision_of
from tasks.inference.runs.live_dead import live_dead_classes
from tasks.inference.runs.order import RunOrder


def order_run(
    database: Database,
    *,
    collection: str,
    model: str,
    threshold: float,
    batch_size: int | None = None,
    image_size: int | None = None,
    max_detections: int = DEFAULT_MAX_DETECTIONS,
    class_mapping: Mapping[str, str] | None = None,
    device: str = "auto",
) -> RunOrder:
    """Look everything up, and find or make the run.

    Raises:
        NotFoundError: there is no such collection or model.
        InvalidInputError: a value cannot be used with this model.
    """
    chosen_threshold = rounded_threshold(threshold)
    found, weights = find_collection(database, collection), find_model(database, model)
    chosen_device = choose_device(device, WeightsFormat(weights.format))
    settings = InferenceSettings(
        image_size or weights.image_size,
        # A run below the usual floor keeps everything down to its own threshold.
        min(DEFAULT_FLOOR_CONFIDENCE, chosen_threshold),
        max_detections=max_detections,
    )
    mapping = (
        None
        if class_mapping is None
        else {name: str(class_mapping[name]) for name in class_mapping}
    )
    classes = live_dead_classes(weights.class_names, mapping)
    run_id = find_or_add_run(
        database,
        collection_id=found.id,
        model_id=weights.id,
        threshold=chosen_threshold,
        image_size=settings.image_size,
        max_detections=settings.max_detections,
    )
    return RunOrder(
        run_id=run_id,
        collection_id=found.id,
        model_id=weights.id,
        weights_path=weights.weights_path,
        sha256=weights.sha256,
        class_names=weights.class_names,
        threshold=chosen_threshold,
        settings=settings,
        classes=classes,
        class_mapping=mapping,
        device=chosen_device,
        precision=precision_of(chosen_device),
        batch_size=batch_size or get_settings().inference_batch_size,
    )
