"""JSON label files: parsing and writing them."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath, PureWindowsPath

from tasks.labels.formats.text_files import decode_text, with_whole_characters
from tasks.labels.problems import ProblemCode
from tasks.reports.problem_log import ProblemLog

# Empty ones take 25 times their bytes; four for each object of the largest files are half of these.
_MOST_CONTAINERS = 20_000_000
_MAY_BE_NO_CHARACTER = re.compile(r"\\u(0000|[dD][89a-fA-F])")


def parse_json(content: bytes, log: ProblemLog) -> object:
    """Parse JSON of any encoding; None for `null`, and with an entry for what is no JSON."""
    try:
        text = decode_text(content, log)
        containers = text.count("{") + text.count("[")
        if containers > _MOST_CONTAINERS:
            reason = f"refused: more than {_MOST_CONTAINERS:,} lists and objects"
            log.add(ProblemCode.JSON_UNREADABLE, reason)
            return None
        document: object = json.loads(text)
        if _MAY_BE_NO_CHARACTER.search(text):
            document = with_whole_characters(document, log)
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
