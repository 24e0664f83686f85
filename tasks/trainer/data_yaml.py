"""The data.yaml that tells the Ultralytics trainer where images are and what classes are called.

How the trainer (8.4) reads it decides what is written:

- Without the key `path`, `train`, `val` and `test` are looked up beside the file itself, so that
  the folder can be moved; a relative `path`, even `.`, would be looked up where the trainer was
  started. So `path` is left out, or absolute when the caller wants one.
- `train` and `val` must both be there.
- `names` as a dict must be numbered from 0 without gaps.
- If the first class starts with "n0", all classes are taken for ImageNet codes and looked up.
- A key `download` would be run as a program: none is ever written.
- Other keys are left alone: `task` is for readers, to whom four corners may be an oriented box.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from storage.errors import InvalidInputError
from tasks.labels.dataset.addresses import Split

_IMAGENET_CODE = re.compile(r"n\d{8}")


def format_dataset_yaml(
    images: Mapping[Split, str],
    names: Sequence[str],
    *,
    root: PurePath | None = None,
    task: str | None = None,
    keypoint_shape: tuple[int, int] | None = None,
    flip_idx: Sequence[int] | None = None,
) -> str:
    """Write a data.yaml.

    Every text is written between double quotes with escapes of YAML 1.1, so that any name, such as
    `no`, `1`, `a: b #c` or one with line breaks, is read back as it is.

    Args:
        images: for each split its folder of images, or a text file that lists them, relative to
            the data.yaml (or to `root`), with "/"; train and val at least. Where there are too few
            images for validation, give val the folder of train.
        names: the classes, in the order of their numbers, each once.
        root: None for folders beside the data.yaml, which can then be moved with them; or an
            absolute folder, for a data.yaml that lies elsewhere.
        task: what the rows are for: detect, segment, obb or pose.
        keypoint_shape: for poses, the number of keypoints and of values for each, 2 (x, y) or 3
            (x, y, visibility).
        flip_idx: for poses, for each keypoint the one whose place it takes in a mirror image.

    Returns:
        The text, to be stored as UTF-8; it ends with a line break.

    Raises:
        InvalidInputError: a split is missing, there is no class, a class is empty or occurs twice,
            the trainer would take the classes for ImageNet codes, or `root`, `keypoint_shape` or
            `flip_idx` cannot be used.
    """
    for split in (Split.TRAIN, Split.VAL):
        if not images.get(split):
            raise InvalidInputError(
                f"The trainer needs images for {split.value!r}; none are named."
            )
    _check_names(names)
    lines = []
    if root is not None:
        if not root.is_absolute():
            raise InvalidInputError(
                f"The trainer looks up {str(root)!r} where it is started; give an absolute path."
            )
        lines.append(f"path: {quote_yaml(root.as_posix())}")
    lines += [f"{split.value}: {quote_yaml(images[split])}" for split in Split if images.get(split)]
    if task is not None:
        lines.append(f"task: {task}")
    if keypoint_shape is not None:
        lines += _keypoint_lines(keypoint_shape, flip_idx)
    elif flip_idx is not None:
        raise InvalidInputError("flip_idx is for poses; give keypoint_shape as well.")
    lines += [f"nc: {len(names)}", "names:"]
    lines += [f"  {number}: {quote_yaml(name)}" for number, name in enumerate(names)]
    return "\n".join(lines) + "\n"


def quote_yaml(text: str) -> str:
    """Write a text as a double-quoted scalar of YAML 1.1.

    Printable characters stay readable; quotes, backslashes and everything else are escaped.

    Raises:
        InvalidInputError: half of a surrogate pair, which no UTF-8 file can hold.
    """
    return '"' + "".join(_escape(character) for character in text) + '"'


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        raise InvalidInputError(
            f"A text holds U+{code:04X}, half of a character, which cannot be stored; rename it."
        )
    if character.isprintable():
        return character
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise InvalidInputError("A training set needs at least one class.")
    seen: set[str] = set()
    for name in names:
        if not name.strip():
            raise InvalidInputError(f"Class {len(seen)} has no name.")
        if name in seen:
            raise InvalidInputError(f"Two classes are called {name!r}.")
        seen.add(name)
    if names[0].startswith("n0") and not all(map(_IMAGENET_CODE.fullmatch, names)):
        raise InvalidInputError(
            f"The trainer takes a first class that starts with 'n0', such as {names[0]!r}, for an "
            "ImageNet code; rename it, or put another class first."
        )


def _keypoint_lines(shape: tuple[int, int], flip_idx: Sequence[int] | None) -> list[str]:
    count, values = shape
    if count < 1 or values not in (2, 3):
        raise InvalidInputError(
            f"keypoint_shape must be a number of keypoints and 2 or 3 values, got {list(shape)}."
        )
    lines = [f"kpt_shape: [{count}, {values}]"]
    if flip_idx is not None:
        if sorted(flip_idx) != list(range(count)):
            raise InvalidInputError(
                f"flip_idx must name each of the {count} keypoints once, got {list(flip_idx)}."
            )
        lines.append(f"flip_idx: [{', '.join(map(str, flip_idx))}]")
    return lines
