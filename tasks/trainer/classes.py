"""One list of classes for several projects, and what does not fit together in theirs.

Where the class lists and labels of one project disagree is found when its labels are read
(`tasks.labels.formats.class_files.compare_class_names`, `tasks.labels.dataset.reading`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tasks.labels.annotations import ImageLabels, Label
from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import Problem


@dataclass(frozen=True, slots=True)
class ProjectClasses:
    """The classes of one project.

    Attributes:
        names: the class of each number in its label files, in any order and with any gaps.
        further_names: classes that have no number there, from labels in formats with names only.
    """

    project: str
    names: Mapping[int, str]
    further_names: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MergedClasses:
    """One list of classes for all projects.

    Attributes:
        names: as first spelled, each once; the position is the number in the set.
        numbers: by names as `normalise_class_name` gives them.
        id_maps: for each project, the new number of each of its numbers.
        problems: with their project as the place.
    """

    names: tuple[str, ...]
    numbers: Mapping[str, int]
    id_maps: Mapping[str, Mapping[int, int]]
    problems: tuple[Problem, ...] = ()


def normalise_class_name(name: str) -> str:
    """Make names comparable: without white space at the ends, in lower case."""
    return name.strip().lower()


def merge_classes(projects: Iterable[ProjectClasses]) -> MergedClasses:
    """Merge the classes of several projects in the order in which they are first seen.

    Projects are gone through as given, in each its numbers from the lowest and then its further
    names. Names that are the same after `normalise_class_name` are one class, which keeps the
    spelling that is seen first. An empty name becomes its number as text, or is left out where it
    has none.

    Raises:
        ValueError: a project occurs twice.
    """
    spellings: dict[str, str] = {}
    numbers: dict[str, int] = {}
    id_maps: dict[str, dict[int, int]] = {}
    problems: list[Problem] = []

    def number_of(name: str) -> int:
        comparable = normalise_class_name(name)
        spellings.setdefault(comparable, name)
        return numbers.setdefault(comparable, len(numbers))

    for one in projects:
        if one.project in id_maps:
            raise ValueError(f"The classes of project {one.project!r} are given twice.")
        id_map = id_maps[one.project] = {}
        first_ids: dict[int, int] = {}
        for class_id, raw_name in sorted(one.names.items()):
            name = raw_name.strip()
            if not name:
                name = str(class_id)
                reason = f"Class {class_id} has no name; it is called {name!r}."
                problems.append(Problem("class_name_empty", one.project, reason))
            id_map[class_id] = number_of(name)
            first_id = first_ids.setdefault(id_map[class_id], class_id)
            if first_id != class_id:
                reason = f"Classes {first_id} and {class_id} are both called {name!r}: one class."
                problems.append(Problem("class_duplicate", one.project, reason))
        for raw_name in one.further_names:
            if name := raw_name.strip():
                number_of(name)
    return MergedClasses(tuple(spellings.values()), numbers, id_maps, tuple(problems))


def remap_labels(image: ImageLabels, project: str, merged: MergedClasses) -> ImageLabels:
    """Give the labels of an image the names and numbers of the merged classes.

    A label with a number is known by its number, one without by its name. Labels of a class that
    the project does not have are left out and reported, with their lines: "class_out_of_range" for
    a number, "class_unknown" for a name.

    Args:
        image: with the project's own classes.

    Returns:
        The labels that could be renamed, in their order; the problems so far, and the new ones
        unless the same code and line are among them.

    Raises:
        KeyError: the project was not merged.
    """
    id_map = merged.id_maps[project]
    labels: list[Label] = []
    problems = list(image.problems)
    # the reader may have said so already
    known = {(problem.code, problem.line) for problem in problems if problem.line is not None}
    for label in image.labels:
        if label.class_id is not None:
            number = id_map.get(label.class_id)
            code = str(ProblemCode.CLASS_OUT_OF_RANGE)
            reason = f"Class {label.class_id} is none of the {len(id_map)} classes of the project."
        else:
            number = merged.numbers.get(normalise_class_name(label.class_name))
            code = str(ProblemCode.CLASS_UNKNOWN)
            reason = f"Class {label.class_name!r} is none of the classes of the training set."
        if number is not None:
            labels.append(replace(label, class_name=merged.names[number], class_id=number))
        elif (code, label.line) not in known:
            problems.append(Problem(code, str(image.source), reason, label.line))
    return replace(image, labels=tuple(labels), problems=tuple(problems))
