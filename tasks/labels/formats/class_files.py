"""Class names of a dataset: from data.yaml, from classes.txt, or from the label files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import yaml

from tasks.images.mask_folders import CLASS_MAPS
from tasks.labels.formats.class_maps import is_class_codes, read_class_codes, read_class_map
from tasks.labels.formats.json_files import parse_json
from tasks.labels.formats.text_files import decode_text, numbered_lines, with_whole_characters
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem, ProblemLog, quoted

# The YAML parser needs seconds per megabyte; the names of 10,000 classes are a fifth of one.
MAX_YAML_BYTES = 1 << 20
# Class ids index lists in most trainers; anything above is a mistake, not a class.
MAX_CLASS_ID = 1_000_000
_CLASS_LISTS = frozenset(
    {"classes.txt", "obj.names", "_darknet.labels", "labels.txt", "notes.json"}
)
_SPLIT_KEYS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class DataYaml:
    """What a dataset's YAML file says; only texts and numbers, nothing in it is ever run.

    `names` are by id, in the order of the ids. None where not given: `keypoint_shape`, the number
    of keypoints and values per keypoint (2 or 3); `task`, Ultralytics' name in lower case (detect,
    segment, obb, pose, ...); `flip_idx`, which keypoint takes the place of which in a mirror image.
    `split_paths` are the folders or list files of each split ("train", "val", "test"), as written.
    """

    file: PurePosixPath
    names: Mapping[int, str]
    keypoint_shape: tuple[int, int] | None = None
    task: str | None = None
    split_paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    flip_idx: tuple[int, ...] | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class ClassList:
    """Class names by id that one file gives, in the order of the ids, and what cannot be used."""

    file: PurePosixPath
    names: Mapping[int, str]
    problems: tuple[Problem, ...] = ()


def read_data_yaml(content: bytes, file: PurePosixPath) -> DataYaml | None:
    """Read a dataset's YAML file; None where it has no `names` and is some other configuration.

    Every value is read as text: a class called `no` or `1e3` stays what it is, and a tag that asks
    for a Python object is ignored. A file that is no YAML at all gives an entry without names, with
    the reason. Messages name `file`.
    """
    log = label_log(file)
    if len(content) > MAX_YAML_BYTES:
        log.add(ProblemCode.FILE_TOO_LARGE, f"more than {MAX_YAML_BYTES} bytes for a YAML file")
        return DataYaml(file, {}, problems=log.entries())
    try:
        document = yaml.load(decode_text(content, log), Loader=yaml.BaseLoader)  # noqa: S506 (text only)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "not YAML"
        log.add(ProblemCode.YAML_UNREADABLE, str(reason), mark.line + 1 if mark else None)
        return DataYaml(file, {}, problems=log.entries())
    except RecursionError:
        log.add(ProblemCode.YAML_UNREADABLE, "nested too deeply")
        return DataYaml(file, {}, problems=log.entries())
    if not isinstance(document, dict) or "names" not in document:
        return None
    names = _names_of_yaml(document["names"], log)
    _compare_with_declared_count(document.get("nc"), names, log)
    if "download" in document:
        reason = "has a `download` key, which some trainers run as code; it is ignored here"
        log.add(ProblemCode.YAML_DOWNLOAD_KEY, reason)
    task = document.get("task")
    shape = _keypoint_shape(document.get("kpt_shape"), log)
    return DataYaml(
        file,
        names,
        shape,
        task.strip().lower() if isinstance(task, str) else None,
        _split_paths(document),
        _flip_idx(document.get("flip_idx"), shape, log),
        log.entries(),
    )


def is_class_list(name: str) -> bool:
    """Whether a file is a list of class names, by its name without folders."""
    return name.lower() in _CLASS_LISTS | CLASS_MAPS or is_class_codes(name)


def read_class_list(content: bytes, file: PurePosixPath) -> ClassList:
    """Read a file that names classes and little else.

    `classes.txt` has one name a line, the first one has the id 0: an empty line between names keeps
    its id, and is noted; empty lines at the end are not. `labelmap.txt` and other maps of masks,
    and the classes of Open Images, count the same, without the background; `notes.json` of Label
    Studio has ids.
    """
    log = label_log(file)
    if len(content) > MAX_YAML_BYTES:
        log.add(ProblemCode.FILE_TOO_LARGE, f"more than {MAX_YAML_BYTES} bytes for a list of names")
        return ClassList(file, {}, log.entries())
    if file.name.lower() in CLASS_MAPS:
        found = read_class_map(content, file)
        return ClassList(file, found.names, found.problems)
    if is_class_codes(file.name):
        return ClassList(file, dict(enumerate(read_class_codes(content, file).values())))
    if file.suffix.lower() == ".json":
        document = parse_json(content, log)
        categories = document.get("categories") if isinstance(document, dict) else None
        listed = categories if isinstance(categories, list) else []
        entries = [one for one in listed if isinstance(one, dict)]
        names = _checked_names([(one.get("id"), one.get("name")) for one in entries], log)
        return ClassList(file, names, log.entries())
    lines = [(number, line.strip()) for number, line in numbered_lines(decode_text(content, log))]
    while lines and not lines[-1][1]:
        lines.pop()
    names = {}
    for number, name in lines:
        if name:
            names[number - 1] = name
        else:
            log.add(ProblemCode.CLASS_NAME_EMPTY, f"class {number - 1} has no name", number)
    return ClassList(file, names, log.entries())


def names_of_json_list(value: object, log: ProblemLog) -> dict[int, str]:
    """Read class names from a JSON list or object by id; each that is not a text is noted."""
    if isinstance(value, list):
        return _checked_names(list(enumerate(value)), log)
    if isinstance(value, dict):
        return _checked_names(list(value.items()), log)
    if value is not None:
        log.add(ProblemCode.CLASS_NAME_INVALID, f"class names are {quoted(value)}, not a list")
    return {}


def class_name_of(names: Mapping[int, str], class_id: int) -> str:
    """Return the name of a class, or its number as text where nobody has named it."""
    return names.get(class_id, str(class_id))


def compare_class_names(lists: Sequence[ClassList]) -> tuple[Problem, ...]:
    """Find names that files of one dataset give differently from the first, which it uses.

    There is an entry for each id with another name, and for each that the first list lacks.
    """
    if not lists or not lists[0].names:
        return ()
    used = lists[0]
    problems: list[Problem] = []
    for other in lists[1:]:
        log = label_log(other.file)
        for class_id, name in other.names.items():
            used_name = used.names.get(class_id)
            if used_name is None:
                reason = f"class {class_id} is {quoted(name)} here and nothing in {used.file}"
                log.add(ProblemCode.CLASS_NAMES_DIFFER, reason)
            elif used_name != name:
                reason = (
                    f"class {class_id} is {quoted(name)} here and {quoted(used_name)} in "
                    f"{used.file}"
                )
                log.add(ProblemCode.CLASS_NAMES_DIFFER, reason)
        problems += log.entries()
    return tuple(problems)


def _names_of_yaml(value: object, log: ProblemLog) -> dict[int, str]:
    """Read `names`: a list, a mapping from ids, or one name (which is a list of one)."""
    if isinstance(value, str):
        # `names:` with nothing after it is the empty text.
        value = [value] if value.strip() else []
    names = names_of_json_list(value, log)
    if names and isinstance(value, dict):
        missing = next((number for number in range(max(names)) if number not in names), None)
        if missing is not None:
            log.add(ProblemCode.CLASS_ID_GAP, f"no name for class {missing}, but for later ones")
    return names


def _checked_names(entries: Sequence[tuple[object, object]], log: ProblemLog) -> dict[int, str]:
    """Keep the entries with a usable id and a usable name, in the order of the ids."""
    names: dict[int, str] = {}
    for key, value in entries:
        class_id = class_id_of(key)
        if class_id is None:
            log.add(ProblemCode.CLASS_NAME_INVALID, f"{quoted(key)} is not a class id")
        elif not isinstance(value, (str, int, float)) or isinstance(value, bool):
            reason = f"the name of class {class_id} is {quoted(value)}, not a text"
            log.add(ProblemCode.CLASS_NAME_INVALID, reason)
        elif not str(value).strip():
            log.add(ProblemCode.CLASS_NAME_EMPTY, f"class {class_id} has no name")
        else:
            # Not the whole document: aliases of YAML may stand for endless ones.
            names[class_id] = str(with_whole_characters(str(value).strip(), log))
    return dict(sorted(names.items()))


def class_id_of(value: object) -> int | None:
    """Read a class id: a whole number from 0 to `MAX_CLASS_ID`, also as "3" or "3.0", else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and ("_" in value or len(value) > 32):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    # The comparison is false for NaN too.
    return int(number) if 0 <= number <= MAX_CLASS_ID and number == int(number) else None


def _compare_with_declared_count(value: object, names: Mapping[int, str], log: ProblemLog) -> None:
    """Note an `nc` that is not the number of names."""
    if value is None:
        return
    expected = max(names, default=-1) + 1
    if class_id_of(value) not in (expected, len(names)):
        log.add(ProblemCode.NC_MISMATCH, f"nc is {quoted(value)}, but there are {len(names)} names")


def _keypoint_shape(value: object, log: ProblemLog) -> tuple[int, int] | None:
    """Read `kpt_shape`: [number of keypoints, 2 or 3]."""
    if value is None:
        return None
    numbers = [class_id_of(entry) for entry in value] if isinstance(value, list) else []
    if len(numbers) == 2 and numbers[0] and numbers[1] in (2, 3):
        return (numbers[0], numbers[1])
    log.add(ProblemCode.KEYPOINT_SHAPE_INVALID, "kpt_shape is not [count, 2] or [count, 3]")
    return None


def _flip_idx(
    value: object, shape: tuple[int, int] | None, log: ProblemLog
) -> tuple[int, ...] | None:
    """Read `flip_idx`: an order of the keypoints; an empty one is as good as none."""
    if value is None or value == []:
        return None
    numbers = [class_id_of(entry) for entry in value] if isinstance(value, list) else [None]
    order = tuple(number for number in numbers if number is not None)
    if shape is not None and isinstance(value, list) and len(value) != shape[0]:
        reason = (
            f"flip_idx has {len(value)} entries and kpt_shape {shape[0]} keypoints: the trainer "
            "refuses to train"
        )
    elif sorted(order) == list(range(len(numbers))):
        return order
    else:
        reason = "flip_idx does not name each keypoint once"
    log.add(ProblemCode.KEYPOINT_SHAPE_INVALID, reason)
    return None


def _split_paths(document: Mapping[object, object]) -> dict[str, tuple[str, ...]]:
    """Read the folders or list files of each split."""
    paths: dict[str, tuple[str, ...]] = {}
    for key, value in document.items():
        split = _SPLIT_KEYS.get(str(key).strip().lower())
        entries = value if isinstance(value, list) else [value]
        texts = tuple(entry.strip() for entry in entries if isinstance(entry, str))
        if split is not None and any(texts):
            paths[split] = (*paths.get(split, ()), *(text for text in texts if text))
    return paths
