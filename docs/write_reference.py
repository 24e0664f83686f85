"""Writes the reference pages from the code, so that the two cannot disagree.

    python docs/write_reference.py [FOLDER]

A test fails when a page in docs/reference is not what this writes.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer.main
from sqlalchemy.dialects import postgresql
from sqlmodel import SQLModel

from deployments.cli.main import app
from storage.database import tables
from storage.errors import ImageErrorCode
from storage.settings import Settings
from tasks.labels.problems import ProblemCode
from tasks.releases.archive.errors import ReleaseErrorCode
from tasks.releases.problems import ReleaseProblemCode
from tasks.sessions.problems import SessionProblemCode
from tasks.trainer.candidates import LeftOutReason
from tasks.trainer.geometry import Adjustment

REFERENCE = Path(__file__).parent / "reference"
_HEAD = "<!-- Written by `python docs/write_reference.py`; edit the code that it reads. -->\n\n"

_ABOUT_ROWS = {
    "created_at": "when the row was made",
    "updated_at": "when it was changed last",
}
_CODES: dict[str, type[StrEnum]] = {
    "Labels of projects, training sets and releases": ProblemCode,
    "Archives and the datasets in them": ReleaseProblemCode,
    "Archives that cannot be read at all": ReleaseErrorCode,
    "Sessions": SessionProblemCode,
    "Images that cannot be measured": ImageErrorCode,
    "Labels that were adjusted for the trainer": Adjustment,
    "Images that are left out of training sets and releases": LeftOutReason,
}


def write_pages(folder: Path) -> None:
    """Write every page into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in {
        "commands": _commands(),
        "problems": _problems(),
        "settings": _settings(),
        "tables": _tables(),
    }.items():
        text = _HEAD + "\n".join(lines).strip() + "\n"
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def _cell(text: str) -> str:
    """A text as the cell of a Markdown table: in one line, and without a border of its own.

    Links are to pages of docs/, which lie above the reference.
    """
    return re.sub(r"\]\((?=[\w-]+\.md)", "](../", " ".join(text.split()).replace("|", "\\|"))


def _tables() -> Iterator[str]:
    yield "# Tables\n"
    yield "Every table of the database; `visionflows db shell` opens psql on it."
    yield "Keys are UUIDs and times are UTC where nothing else is said.\n"
    assert tables.__all__  # importing them has registered their classes
    for table in sorted(SQLModel.__subclasses__(), key=lambda kind: kind.__name__):
        summary, described = described_columns(table)
        yield f"## {table.__tablename__}\n\n{summary}\n"
        yield "| column | type | what it is |\n|---|---|---|"
        for column in table.__table__.columns:
            kind = column.type.compile(dialect=postgresql.dialect())
            yield f"| `{column.name}` | {kind.lower()} | {_cell(described[column.name])} |"
        yield ""


def described_columns(table: type[SQLModel]) -> tuple[str, dict[str, str]]:
    """What the docstring of a table class says of the table, and of each column."""
    summary, _, columns = inspect.cleandoc(table.__doc__ or "").partition("\n\nColumns:\n")
    found = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", columns, re.MULTILINE | re.DOTALL)
    return summary, _ABOUT_ROWS | {name: text.strip().rstrip(".") for name, text in found}


def _settings() -> Iterator[str]:
    yield "# Settings\n"
    yield "Environment variables, or lines of a file `.env` in the folder of the command.\n"
    yield "| variable | default | what it is |\n|---|---|---|"
    for name, field in Settings.model_fields.items():
        default = "" if field.is_required() or field.default_factory else field.default
        shown = "" if default in ("", None, ()) else f"`{default}`"
        what = _cell(field.description or "")
        yield f"| `VISIONFLOWS_{name.upper()}` | {shown} | {what} |"


def _problems() -> Iterator[str]:
    yield "# Problem codes\n"
    yield "What can be wrong, and what became of the thing that it is about.\n"
    for title, codes in _CODES.items():
        yield f"## {title}\n"
        for about, names in grouped_codes(codes):
            listed = ", ".join(f"`{name}`" for name in names)
            yield f"- {about} {listed}" if about else f"- {listed}"
        yield ""


def grouped_codes(codes: type[StrEnum]) -> Iterator[tuple[str, list[str]]]:
    """The values of an enum under the comments that stand above them."""
    lines = inspect.getsource(codes).splitlines()
    about: list[str] = []
    names: list[str] = []
    for line in lines:
        comment = re.match(r"\s+# (.*)", line)
        value = re.match(r"\s+[A-Z_0-9]+ = (\".*\")", line)
        if comment:
            if names:
                yield " ".join(about), names
                about, names = [], []
            about.append(comment[1])
        elif value:
            names.append(ast.literal_eval(value[1]))
    yield " ".join(about), names


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    yield "`visionflows COMMAND --help` says the same, with an example for each.\n"
    root = typer.main.get_command(app)
    for path, command in leaf_commands(root, ("visionflows",)):
        summary = inspect.cleandoc(command.help or "").partition("\n\n")[0]
        yield f"## {' '.join(path)}\n\n{' '.join(summary.split())}\n"
        rows = [_parameter(one) for one in command.params if one.name != "help"]
        if rows:
            yield "| argument or option | what it is |\n|---|---|"
            yield from rows
            yield ""


Leaves = Iterator[tuple[tuple[str, ...], Any]]


def leaf_commands(command: Any, path: tuple[str, ...]) -> Leaves:  # noqa: ANN401 - Typer's own Click
    """Every command that does something, with the words that lead to it."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, child in sorted(command.commands.items()):
        yield from leaf_commands(child, (*path, name))


def _parameter(parameter: Any) -> str:  # noqa: ANN401
    if parameter.param_type_name == "option":
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    else:
        names = f"`{parameter.name.upper()}`"
    return f"| {names} | {_cell(parameter.help or '')} |"


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]) if len(sys.argv) > 1 else REFERENCE)
