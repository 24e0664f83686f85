"""Where the images of a collection come from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from storage.errors import InvalidInputError


@dataclass(frozen=True)
class FolderSource:
    """All images of a folder and of the folders in it."""

    folder: str


@dataclass(frozen=True)
class QuerySource:
    """Images of projects; what is None or empty does not matter.

    Attributes:
        projects: ids; empty for all projects.
        path: a pattern for paths in the project, `*` for any characters and `?` for one.
        labeled: only images with (or without) a label file.
        min_quality: only images that were measured with at least this overall quality, 0..1.
        without_issues: only images that were measured and have none of these.
    """

    projects: tuple[str, ...] = ()
    path: str | None = None
    split: str | None = None
    labeled: bool | None = None
    min_quality: float | None = None
    without_issues: tuple[str, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether it chooses nothing at all."""
        return self == QuerySource()


Source = FolderSource | QuerySource


def source_as_json(source: Source) -> dict[str, Any]:
    """A source as JSON values."""
    if isinstance(source, FolderSource):
        return {"folder": source.folder}
    values = asdict(source)
    return {"query": {name: values[name] for name in values if values[name] not in (None, (), [])}}


def source_from_json(value: dict[str, Any]) -> Source:
    """The source that `source_as_json` has written."""
    if "folder" in value:
        return FolderSource(value["folder"])
    query = dict(value["query"])
    for name in ("projects", "without_issues"):
        query[name] = tuple(query.get(name, ()))
    return QuerySource(**query)


def like_pattern(glob: str) -> str:
    r"""Turn a pattern of `*` and `?` into one of SQL's LIKE.

    Raises:
        InvalidInputError: it is empty, or an absolute path, which nothing in a project has.
    """
    if not glob or PurePath(glob).is_absolute():
        raise InvalidInputError(
            f"The path pattern {glob!r} matches nothing: give one inside the project, as 'east/*'."
        )
    quoted = "".join(f"\\{one}" if one in "\\%_" else one for one in glob)
    return quoted.replace("*", "%").replace("?", "_")


def source_in_words(source: Source, project_names: dict[str, str]) -> str:
    """A source for people."""
    if isinstance(source, FolderSource):
        return f"folder {source.folder}"
    names = ", ".join(project_names.get(one, one) for one in source.projects)
    words = [f"project {names}" if names else "all projects"]
    if source.path is not None:
        words.append(f"path {source.path}")
    if source.split is not None:
        words.append(f"split {source.split}")
    if source.labeled is not None:
        words.append("labeled" if source.labeled else "not labeled")
    if source.min_quality is not None:
        words.append(f"quality from {source.min_quality:g}")
    if source.without_issues:
        words.append(f"without {', '.join(source.without_issues)}")
    return "; ".join(words)
