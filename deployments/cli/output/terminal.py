"""What the commands print: tables and progress for people, JSON for programs."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

# Output that goes to a file or another program is neither wrapped nor cut.
_WIDTH = None if sys.stdout.isatty() else 10_000
_MOST_PROBLEMS = 10
# In a sentence a command stands in backticks; a line may be nothing but a command.
_COMMAND = re.compile(r"(`|^)visionflows (?=[a-z-])")

# Exit statuses, besides 0 where all is well and 2 where the command is not understood.
FAILED, PARTLY_FAILED, CANCELLED = 1, 3, 130

# More rows than any list has.
_EVERY_ROW = 1_000_000_000
_all_rows = False

console = Console(highlight=False, width=_WIDTH)
error_console = Console(stderr=True, highlight=False)


def printable(value: str) -> str:
    """A name or message of unknown origin, safe to print: what cannot be shown is spelled out.

    A line break in a file name would break a table, an escape sequence would command the terminal.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in value
    )


def as_typed_here(text: str) -> str:
    """A text whose `visionflows ...` are commands as a person types them in this very shell.

    That is the same program on the same home: pasted as it stands, it finds what was made here.
    """
    return _COMMAND.sub(lambda found: f"{found[1]}{_this_command()} ", text)


def _this_command() -> str:
    program = Path(sys.argv[0])
    if program.name != "visionflows":
        return "visionflows"  # part of another program
    home = os.environ.get("VISIONFLOWS_HOME")
    setting = "" if home is None else f"VISIONFLOWS_HOME={shlex.quote(home)} "
    is_on_path = shutil.which("visionflows") == str(program.absolute())
    return setting + ("visionflows" if is_on_path else shlex.quote(sys.argv[0]))


def plain(value: str) -> Text:
    """A name or message of unknown origin as a table cell: never read as markup."""
    return Text(printable(value))


def print_plain(value: str) -> None:
    """Print a sentence in which names occur: never read as markup, never cut into lines."""
    console.print(plain(as_typed_here(value)), soft_wrap=True)


def print_problem(value: str) -> None:
    """Print a sentence in which names occur on standard error."""
    error_console.print(plain(as_typed_here(value)), soft_wrap=True)


def show_all_rows(is_wanted: bool) -> bool:
    """Let lists be printed whole from here on, or cut again where they are long."""
    global _all_rows
    _all_rows = is_wanted
    return is_wanted


def most_rows(usual: int | None) -> int | None:
    """How many rows of a list are printed: as usual (None: all), or all where that is wanted."""
    return _EVERY_ROW if _all_rows and usual is not None else usual


def rows_to_load(usual: int = 50) -> int:
    """How many rows of a list are looked up to be printed."""
    return _EVERY_ROW if _all_rows else usual


def more_rows(count: int) -> str:
    """What is said of rows that were cut off, and how to see them."""
    return f"... and {count} more{'' if _all_rows else '; --all-rows shows them'}."


def print_problems(problems: Sequence[str]) -> None:
    """Print the first of many sentences on standard error, and how many more there are."""
    shown = problems[: most_rows(_MOST_PROBLEMS)]
    for problem in shown:
        print_problem(problem)
    if len(problems) > len(shown):
        print_problem(more_rows(len(problems) - len(shown)))


def print_records(records: Sequence[Mapping[str, object]], *, as_csv: bool) -> None:
    """Print a list for programs: as JSON, or as CSV with a header line.

    In CSV a cell that nobody knows is empty, and what is more than one value is JSON.
    """
    if not as_csv:
        print_json(records)
        return
    print_csv(dict.fromkeys(name for record in records for name in record), records)


def print_csv(columns: Iterable[str], records: Iterable[Mapping[str, object]]) -> None:
    """Print a header line and a line for each record, as they come; see `print_records`."""
    names = list(columns)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for record in records:
        writer.writerow([_csv_cell(record.get(name)) for name in names])


def _csv_cell(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=_as_text, ensure_ascii=False)
    return value


def print_json(value: object) -> None:
    """Print a value as one JSON document; ids, times and paths as text."""
    # Other encodings lack characters, and JSON has its own way to write those.
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(value, default=_as_text, ensure_ascii=not is_unicode, indent=2))


def _as_text(value: object) -> str:
    """What JSON has no kind for: ids and paths as they are written, times by ISO 8601."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
