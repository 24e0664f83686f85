"""JSON label files: parsing and writing them."""

from __future__ import annotations

import json
from pathlib import PurePosixPath, PureWindowsPath

from tasks.labels.formats.text_files import decode_text
from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import ProblemLog


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


def file_name_of(value: object) -> PurePosixPath | None:
    """Take the file name out of a path that a document gives, with either kind of slash."""
    name = PureWindowsPath(value).name if isinstance(value, str) else ""
    return PurePosixPath(name) if name else None


def dump_json(document: object) -> bytes:
    """Write a JSON document: the same bytes for the same document, names as they are, UTF-8."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1)
    return (text + "\n").encode()
