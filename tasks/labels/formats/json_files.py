"""JSON label files: parsing them, and telling their formats apart by content."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import PurePosixPath, PureWindowsPath

from tasks.labels.formats.text_files import decode_text
from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import ProblemLog


class JsonFormat(StrEnum):
    """The label formats that are JSON documents."""

    LABELME = "labelme"
    PROJECT = "project_json"
    COCO = "coco"


def parse_json(content: bytes, log: ProblemLog) -> object:
    """Parse JSON of any encoding; None for `null`, and with an entry for what is no JSON."""
    try:
        document: object = json.loads(decode_text(content, log))
    except json.JSONDecodeError as error:
        log.add(ProblemCode.JSON_UNREADABLE, f"not JSON: {error.msg}", error.lineno)
        return None
    except RecursionError:
        log.add(ProblemCode.JSON_UNREADABLE, "nested too deeply")
        return None
    except ValueError:
        # Python refuses integers of more than 4300 digits.
        log.add(ProblemCode.JSON_UNREADABLE, "a number has too many digits")
        return None
    return document


def format_of_json(document: object) -> JsonFormat | None:
    """Tell the format of a JSON document by its keys, else None.

    LabelMe has `shapes`, the project form `d`, COCO `images` with `annotations` or `categories`.
    """
    if not isinstance(document, dict):
        return None
    if isinstance(document.get("shapes"), list):
        return JsonFormat.LABELME
    if isinstance(document.get("images"), list) and (
        isinstance(document.get("annotations"), list)
        or isinstance(document.get("categories"), list)
    ):
        return JsonFormat.COCO
    if isinstance(document.get("d"), list):
        return JsonFormat.PROJECT
    return None


def file_name_of(value: object) -> PurePosixPath | None:
    """Take the file name out of a path that a document gives, with either kind of slash."""
    name = PureWindowsPath(value).name if isinstance(value, str) else ""
    return PurePosixPath(name) if name else None


def dump_json(document: object) -> bytes:
    """Write a JSON document: the same bytes for the same document, names as they are, UTF-8."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1)
    return (text + "\n").encode()
