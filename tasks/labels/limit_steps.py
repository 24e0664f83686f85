"""The limits on datasets that the settings give."""

from __future__ import annotations

from storage.settings import get_settings
from tasks.labels.limits import DatasetLimits


def dataset_limits() -> DatasetLimits:
    """What a dataset in a folder or archive may be at most."""
    settings = get_settings()
    return DatasetLimits(
        label_bytes=settings.max_label_bytes,
        file_bytes=settings.max_label_file_bytes,
        all_label_bytes=settings.max_all_label_bytes,
        classes=settings.max_classes,
        members=settings.max_archive_members,
        ratio=settings.max_inflated_ratio,
    )
