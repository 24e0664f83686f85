"""Labels and detections as objects of the classes that are evaluated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from unicodedata import normalize

import numpy as np

from storage.errors import InvalidInputError
from tasks.inference.detections import Detection, ImageDetections, Task
from tasks.inference.evaluation.objects import FloatArray, ObjectRows, Rle
from tasks.inference.evaluation.overlaps import run_lengths
from tasks.inference.runs.live_dead import class_name_of
from tasks.labels.annotations import Box, Keypoints, Label, OrientedBox, Polygon

Corner = tuple[float, float]


def folded(name: str) -> str:
    """A class name as it is compared: in any case, an accent in one character or in two."""
    return normalize("NFC", name.strip().casefold())


@dataclass(frozen=True)
class ClassPairing:
    """Which classes are evaluated.

    Attributes:
        names: of the classes that are evaluated, as the model writes them.
        of_model: number by the folded name of a class of the model.
        of_labels: likewise of a class of labels.
        only_model: classes of the model without a partner.
    """

    names: tuple[str, ...]
    of_model: Mapping[str, int]
    of_labels: Mapping[str, int]
    only_model: tuple[str, ...]


def pair_classes(
    model_names: Sequence[str], label_names: Iterable[str], mapping: Mapping[str, str]
) -> ClassPairing:
    """Find the class of labels that each class of the model is about: by its name in any case.

    `mapping` has names of labels by classes of the model; several may go to the same.

    Raises:
        InvalidInputError: the mapping names a class that the model or the labels do not have, or
            one of the model for two of the labels.
    """
    own = {folded(name): name for name in model_names}
    known = {folded(name): name for name in label_names}
    told: dict[str, str] = {}
    for name, label in mapping.items():
        if told.setdefault(folded(name), folded(label)) != folded(label):
            raise InvalidInputError(
                f"The class {name!r} of the model is given for two classes of the labels, "
                f"{told[folded(name)]!r} and {label!r}: choose one."
            )
    for what, wanted, there in (("model", told.keys(), own), ("labels", told.values(), known)):
        for name in wanted:
            if name not in there:
                has = ", ".join(there.values()) or "none"
                raise InvalidInputError(f"No class of the {what} is called {name!r}; it has {has}.")
    partner = {name: told.get(name, name) for name in own}
    numbers: dict[str, int] = {}
    names: list[str] = []
    of_model: dict[str, int] = {}
    for name, shown in own.items():
        label = partner[name]
        if label not in known:
            continue
        if label not in numbers:
            numbers[label] = len(names)
            names.append(shown)
        of_model[name] = numbers[label]
    only_model = tuple(shown for name, shown in own.items() if partner[name] not in known)
    return ClassPairing(tuple(names), of_model, numbers, only_model)


@dataclass
class Gathered:
    """Objects of all images, and what could not be taken among them."""

    pairing: ClassPairing
    task: Task
    labels: ObjectRows = field(default_factory=ObjectRows)
    detections: ObjectRows = field(default_factory=ObjectRows)
    labels_without_class: Counter[str] = field(default_factory=Counter)
    detections_without_class: Counter[str] = field(default_factory=Counter)

    def add_labels(self, image: int, labels: Sequence[Label], width: int, height: int) -> None:
        """Take the labels of an image of this size in pixels; parts of an object are one."""
        parts: dict[object, list[Label]] = {}
        for place, label in enumerate(labels):
            if not label.is_whole_image:
                key = ("part", label.instance) if label.instance is not None else place
                parts.setdefault(key, []).append(label)
        for group in parts.values():
            first = group[0]
            class_id = self.pairing.of_labels.get(folded(first.class_name))
            if class_id is None:
                self.labels_without_class[first.class_name] += 1
                continue
            outlines = [_outline(label, width, height) for label in group]
            points = np.concatenate(outlines)
            corners = None
            if len(group) == 1 and isinstance(first.geometry, (OrientedBox, Box)):
                corners = outlines[0]
            elif self.task is Task.ORIENTED_BOX and len(group) == 1 and len(points) == 4:
                corners = points
            is_outlined = all(isinstance(label.geometry, Polygon) for label in group)
            self.labels.add(
                image,
                class_id,
                _box_in_image(points, width, height),
                is_crowd=first.is_crowd,
                line=first.line,
                mask=self._mask([_turned_right(one) for one in outlines], width, height)
                if is_outlined
                else None,
                corners=corners,
            )

    def add_detections(
        self, image: int, found: ImageDetections, class_names: Sequence[str]
    ) -> None:
        """Take all that was kept of an image."""
        for one in found.detections:
            name = class_name_of(one.class_id, class_names)
            class_id = self.pairing.of_model.get(folded(name))
            if class_id is None:
                self.detections_without_class[name] += 1
                continue
            self.detections.add(
                image,
                class_id,
                one.box,
                confidence=one.confidence,
                mask=self._mask(one.polygons, found.width, found.height) if one.polygons else None,
                corners=self._corners(one),
            )

    def _mask(self, outlines: Sequence[np.ndarray], width: int, height: int) -> Rle | None:
        if self.task is not Task.SEGMENT:
            return None
        return run_lengths([one.astype(np.float32) for one in outlines], width, height)

    def _corners(self, one: Detection) -> FloatArray | None:
        is_box = self.task is Task.ORIENTED_BOX and one.polygons and len(one.polygons[0]) == 4
        return one.polygons[0].astype(np.float64) if is_box else None


def _outline(label: Label, width: int, height: int) -> FloatArray:
    """The outline of a label in pixels, (n, 2)."""
    geometry = label.geometry
    points: Sequence[Corner]
    if isinstance(geometry, Polygon):
        points = geometry.points
    elif isinstance(geometry, OrientedBox):
        points = geometry.corners
    else:
        box = geometry.box if isinstance(geometry, Keypoints) else geometry
        left, right = box.center_x - box.width / 2, box.center_x + box.width / 2
        top, bottom = box.center_y - box.height / 2, box.center_y + box.height / 2
        points = ((left, top), (right, top), (right, bottom), (left, bottom))
    return np.array(points, np.float64) * (width, height)


def _box_in_image(points: FloatArray, width: int, height: int) -> list[float]:
    """Left, top, right and bottom of points, no further than the image: as detections are."""
    inside = np.clip(points, 0, (width, height))
    return [*inside.min(axis=0).tolist(), *inside.max(axis=0).tolist()]


def _turned_right(outline: FloatArray) -> FloatArray:
    """An outline of an area above 0: one of labels is never a hole."""
    x, y = outline[:, 0], outline[:, 1]
    area = np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))
    return outline if area >= 0 else outline[::-1]
