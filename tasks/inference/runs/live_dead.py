"""Counting detections by class, and the two counts that people ask for: live and dead mussels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from storage.errors import InvalidInputError
from tasks.inference.detections import Detection

LIVE, DEAD = "live", "dead"


@dataclass(frozen=True, slots=True)
class LiveDeadClasses:
    """The class ids that count as live and as dead; both may be empty."""

    live: frozenset[int]
    dead: frozenset[int]


def count_by_class(detections: Iterable[Detection], class_names: Sequence[str]) -> dict[str, int]:
    """Count detections by class name, those that were found in the order of the class ids.

    An id without a name counts under its number; classes of one name count together.
    """
    counts: dict[int, int] = {}
    for detection in detections:
        counts[detection.class_id] = counts.get(detection.class_id, 0) + 1
    named: dict[str, int] = {}
    for class_id in sorted(counts):
        name = class_name_of(class_id, class_names)
        named[name] = named.get(name, 0) + counts[class_id]
    return named


def count_live_and_dead(
    detections: Iterable[Detection], classes: LiveDeadClasses
) -> tuple[int, int]:
    """Count live and dead ones."""
    ids = [detection.class_id for detection in detections]
    return sum(i in classes.live for i in ids), sum(i in classes.dead for i in ids)


def live_dead_classes(
    class_names: Sequence[str], mapping: Mapping[str, str] | None = None
) -> LiveDeadClasses:
    """Decide which classes are live and which dead.

    Without a mapping, the classes named "live" and "dead" are, in any case of letters. A model with
    neither has none: ids alone never decide. A mapping from class names (in any case of letters) to
    "live" or "dead" replaces this rule. A number in it is a class id only where no class has it as
    its name.

    Raises:
        InvalidInputError: the mapping names a class that the model does not have, something else
            than live and dead, or one class as both.
    """
    if mapping is None:
        mapping = {name: name for name in class_names if folded(name) in (LIVE, DEAD)}
    ids: dict[str, set[int]] = {LIVE: set(), DEAD: set()}
    for name, meaning in mapping.items():
        if folded(meaning) not in ids:
            raise InvalidInputError(
                f"the class mapping maps {name!r} to {meaning!r}: only live and dead are possible"
            )
        ids[folded(meaning)] |= _ids_of(name, class_names)
    for class_id in sorted(ids[LIVE] & ids[DEAD]):
        raise InvalidInputError(
            f"the class mapping maps the class {class_names[class_id]!r} to both live and dead: "
            "name it once"
        )
    return LiveDeadClasses(frozenset(ids[LIVE]), frozenset(ids[DEAD]))


def class_name_of(class_id: int, class_names: Sequence[str]) -> str:
    """Name of a class; its number as text where it has none."""
    return class_names[class_id] if 0 <= class_id < len(class_names) else str(class_id)


def _ids_of(name: str, class_names: Sequence[str]) -> set[int]:
    named = {number for number, own in enumerate(class_names) if folded(own) == folded(name)}
    if named:
        return named
    if name.strip().isdecimal() and int(name) < len(class_names):
        return {int(name)}
    raise InvalidInputError(
        f"the class mapping names {name!r}, but the model's classes are: {', '.join(class_names)}"
    )


def folded(name: str) -> str:
    """A name of a class as it is compared: in any case of letters."""
    return name.strip().casefold()
