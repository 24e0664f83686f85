"""The quality of every image of a project, as rows for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text


def read_quality_rows(
    connection: Connection, project_id: UUID, *, batch_rows: int = 1000
) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """The columns of the view `image_quality`, and a row for each image by relative path.

    Missing and unmeasured images have rows too. At most `batch_rows` are in memory.
    """
    result = connection.execute(
        text(
            'SELECT * FROM image_quality WHERE project_id = :id ORDER BY relative_path COLLATE "C"'
        ),
        {"id": project_id},
        execution_options={"stream_results": True, "yield_per": batch_rows},
    ).mappings()
    return list(result.keys()), map(dict, result)
