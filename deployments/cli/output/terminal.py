"""What the commands print: tables and progress for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

# Output that goes to a file or another program is not squeezed into 80 columns.
_WIDTH = None if sys.stdout.isatty() else 120
_MOST_PROBLEMS = 10

# Exit statuses, besides 0 where all is well and 2 where the command is not understood.
FAILED, PARTLY_FAILED, CANCELLED = 1, 3, 130

console = Console(highlight=False, width=_WIDTH)
# For lists, one a line: a program that reads them gets whole lines.
list_console = console if _WIDTH is None else Console(highlight=False, width=10_000)
error_console = Console(stderr=True, highlight=False)


def printable(value: str) -> str:
    """A name or message of unknown origin, safe to print: what cannot be shown is spelled out.

    A line break in a file name would break a table, an escape sequence would command the terminal.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in value
    )


def plain(value: str) -> Text:
    """A name or message of unknown origin as a table cell: never read as markup."""
    return Text(printable(value))


def print_plain(value: str) -> None:
    """Print a sentence in which names occur: never read as markup, never cut into lines."""
    console.print(plain(value), soft_wrap=True)


def print_problem(value: str) -> None:
    """Print a sentence in which names occur on standard error."""
    error_console.print(plain(value), soft_wrap=True)


def print_problems(problems: Sequence[str]) -> None:
    """Print the first of many sentences on standard error, and how many more there are."""
    for problem in problems[:_MOST_PROBLEMS]:
        print_problem(problem)
    if len(problems) > _MOST_PROBLEMS:
        print_problem(f"... and {len(problems) - _MOST_PROBLEMS} more.")


def print_json(value: object) -> None:
    """Print a value as one JSON document; ids, times and paths as text."""
    # Other encodings lack characters, and JSON has its own way to write those.
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(value, default=str, ensure_ascii=not is_unicode, indent=2))
