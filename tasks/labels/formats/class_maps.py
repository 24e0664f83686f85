"""Files that name classes beside the pictures: with colours of masks, with codes, or with ids."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from tasks.labels.formats.text_files import decode_text, numbered_lines
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem, quoted

Colour = tuple[int, int, int]
# What is around the objects, or left open, is no class of objects.
_NO_CLASSES = frozenset(
    {"background", "_background_", "__background__", "void", "unlabeled", "unlabelled"}
    | {"ignore", "ignored", "__ignore__"}
)
_COLOUR_FIRST = re.compile(r"\s*(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\S.*)")
_CODE = re.compile(r"/[a-z]/\S+")


@dataclass(frozen=True)
class ClassMap:
    """The classes of a map file in its order, some of which are the background.

    `colours` are the positions of the classes by the colour that masks have for them. `names` are
    without the background, by ids that count the others from 0.
    """

    file: PurePosixPath
    classes: tuple[str, ...]
    colours: Mapping[Colour, int]
    problems: tuple[Problem, ...] = ()

    @property
    def names(self) -> dict[int, str]:
        """The classes of objects by id."""
        return dict(enumerate(name for name in self.classes if not is_background(name)))


def is_background(name: str) -> bool:
    """Whether a name stands for what is no object."""
    return name.lower() in _NO_CLASSES


def read_class_map(content: bytes, file: PurePosixPath) -> ClassMap:
    """Read VOC's `labelmap.txt`, or CamVid's `label_colors.txt` and `class_dict.csv`.

    A line is `name:r,g,b:parts:actions`, `r g b name`, `name,r,g,b`, or a name alone; `#` begins a
    comment.
    """
    log = label_log(file)
    classes: list[str] = []
    colours: dict[Colour, int] = {}
    for line, text in numbered_lines(decode_text(content, log)):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        name, numbers = _split(text, file.suffix.lower() == ".csv")
        if not numbers and classes == [] and name.lower() == "name":
            continue  # the heading of a table
        if not name:
            log.add(ProblemCode.CLASS_NAME_EMPTY, f"{quoted(text)} names no class", line)
            continue
        if len(numbers) == 3 and all(0 <= number <= 255 for number in numbers):
            red, green, blue = numbers
            colours.setdefault((red, green, blue), len(classes))
        elif numbers:
            reason = f"the colour of {quoted(name)} is not three numbers up to 255"
            log.add(ProblemCode.CLASS_NAME_INVALID, reason, line)
        classes.append(name)
    return ClassMap(file, tuple(classes), colours, log.entries())


def _split(text: str, is_table: bool) -> tuple[str, list[int]]:
    """Take a line apart into the name and the numbers of the colour."""
    if is_table:
        try:
            name, *numbers = next(csv.reader([text]))
        except csv.Error:  # one cell is longer than any name
            return "", []
        return name.strip(), _numbers(numbers)
    if found := _COLOUR_FIRST.fullmatch(text):
        return found[4].strip(), _numbers(found.groups()[:3])
    name, colour, *_ = [*text.split(":"), ""]
    return name.strip(), _numbers(colour.split(","))


def _numbers(words: Iterable[str]) -> list[int]:
    """The words that are numbers; the first digits of a long one say that it is too large."""
    return [int(word.strip()[:9]) for word in words if word.strip().isdecimal()]


def is_class_codes(name: str) -> bool:
    """Whether a file names the classes of Open Images by their codes, by its name."""
    name = name.lower().rpartition("/")[2]
    return "class-descriptions" in name and name.endswith(".csv")


def read_class_codes(content: bytes, file: PurePosixPath) -> dict[str, str]:
    """Read names by their codes: `/m/0bt9lr,Dog` on each line."""
    codes = {}
    for _, text in numbered_lines(decode_text(content, label_log(file))):
        code, _, name = text.partition(",")
        if _CODE.fullmatch(code.strip()) and name.strip():
            codes[code.strip()] = name.strip().strip('"')
    return codes
