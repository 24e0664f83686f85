"""The results of a run as rows of a Parquet snapshot, polygons as nested lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

_OUTLINE = pa.list_(pa.list_(pa.float64()))

POLYGON_TYPE = pa.struct(
    [
        pa.field("class", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("bbox", pa.list_(pa.float64())),
        pa.field("coords", _OUTLINE),
        pa.field("other_parts", pa.list_(_OUTLINE)),
        pa.field("holes", pa.list_(_OUTLINE)),
    ]
)

RESULTS_SCHEMA = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("image_width", pa.int32()),
        pa.field("image_height", pa.int32()),
        pa.field("live_count", pa.int32()),
        pa.field("dead_count", pa.int32()),
        pa.field("class_counts", pa.map_(pa.string(), pa.int32())),
        pa.field("limit_reached", pa.bool_()),
        pa.field("polygons", pa.list_(POLYGON_TYPE)),
        pa.field("error_code", pa.string()),
        pa.field("error_msg", pa.string()),
        pa.field("inference_ms", pa.float64()),
        pa.field("computed_at", pa.timestamp("us", tz="UTC")),
    ]
)


def results_batch(rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """Turn rows into a batch.

    Values are by the names of `RESULTS_SCHEMA`; `class_counts` is a dict, `polygons` as in the JSON
    file of an image, both None for an image that failed.
    """
    arrays = []
    for field in RESULTS_SCHEMA:
        values = [row[field.name] for row in rows]
        if field.name == "class_counts":
            values = [None if value is None else list(value.items()) for value in values]
        elif field.name == "polygons":
            values = [
                None if value is None else [_complete(one) for one in value] for value in values
            ]
        arrays.append(pa.array(values, type=field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=RESULTS_SCHEMA)


def _complete(polygon: dict[str, Any]) -> dict[str, Any]:
    """A polygon with empty lists where its file leaves something out."""
    return {**polygon, **{name: polygon.get(name, []) for name in ("other_parts", "holes")}}
