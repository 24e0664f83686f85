"""The class names that the files of a dataset give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Generic, TypeVar

from tasks.labels.formats.class_files import (
    ClassList,
    DataYaml,
    compare_class_names,
    read_class_list,
    read_data_yaml,
)
from tasks.reports.problem_log import Problem

File = TypeVar("File")


@dataclass(frozen=True)
class DatasetNames(Generic[File]):
    """What the describing files say, with the problems of all of them.

    `config` is the data.yaml that counts, `source` the file with the names; None where there is
    none. `names` are by id, ascending.
    """

    config: DataYaml | None
    names: dict[int, str]
    source: File | None
    problems: tuple[Problem, ...]


def read_dataset_names(
    yaml_files: Sequence[File],
    class_lists: Sequence[File],
    path_of: Callable[[File], str],
    read: Callable[[File], bytes | None],
) -> DatasetNames[File]:
    """Read every file that names classes: data.yaml first, then lists, the nearest to the root.

    Both sequences begin with the nearest to the root. `path_of` returns a file's name for people,
    `read` its bytes, None (with a problem noted) where it cannot be read.
    """
    config: DataYaml | None = None
    lists: list[tuple[File, ClassList]] = []
    problems: list[Problem] = []
    for one_file in yaml_files:
        content = read(one_file)
        file = PurePosixPath(path_of(one_file))
        found = read_data_yaml(content, file) if content is not None else None
        if found is None:
            continue
        problems += found.problems
        if found.names:
            lists.append((one_file, ClassList(file, found.names)))
            config = config or found
    for one_file in class_lists:
        content = read(one_file)
        if content is None:
            continue
        class_list = read_class_list(content, PurePosixPath(path_of(one_file)))
        problems += class_list.problems
        if class_list.names:
            lists.append((one_file, class_list))
    names = dict(sorted(lists[0][1].names.items())) if lists else {}
    problems += compare_class_names([one for _, one in lists])
    return DatasetNames(config, names, lists[0][0] if lists else None, tuple(problems))
