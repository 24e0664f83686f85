"""The reference pages say what the code says, and leave nothing out."""

import os
import re
import subprocess
import sys

from sqlmodel import SQLModel

from storage.database import tables  # noqa: F401 - registers them
from storage.settings import Settings
from tests.places import ROOT

REFERENCE = ROOT / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text(encoding="utf-8")


def test_the_pages_are_those_that_the_code_writes(tmp_path):
    done = subprocess.run(
        [sys.executable, "docs/write_reference.py", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.iterdir()}
    assert written == kept, "run: python docs/write_reference.py"


def test_every_table_and_column_is_named():
    text = page("tables")
    count = 0
    for table in SQLModel.metadata.tables.values():
        section = re.search(rf"^## {table.name}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert section, table.name
        for column in table.columns:
            assert f"| `{column.name}` |" in section[1], (table.name, column.name)
            count += 1
    assert count > 150


def test_every_setting_is_named():
    text = page("settings")
    for name in Settings.model_fields:
        assert f"`VISIONFLOWS_{name.upper()}`" in text


def test_every_command_and_option_is_named():
    import typer.main

    from deployments.cli.main import app

    text = page("commands")
    count = 0

    def look(command, path):
        nonlocal count
        for name, child in getattr(command, "commands", {}).items():
            look(child, (*path, name))
        if not hasattr(command, "commands"):
            assert f"## {' '.join(path)}\n" in text
            for parameter in command.params:
                if parameter.param_type_name == "option" and parameter.name != "help":
                    assert f"`{parameter.opts[0]}`" in text
                    count += 1

    look(typer.main.get_command(app), ("visionflows",))
    assert count > 100


def test_every_problem_code_is_named():
    """Whatever enum of codes there is in the code, the pages know each of its values."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    sources = [
        path.read_text(encoding="utf-8")
        for layer in ("tasks", "storage")
        for path in (ROOT / layer).rglob("*.py")
    ]
    enums = [
        match
        for source in sources
        for match in re.finditer(
            r"^class (\w*(?:Code|Reason|Adjustment))\(StrEnum\):\n(.*?)(?=^\S)",
            source,
            re.MULTILINE | re.DOTALL,
        )
    ]
    assert len(enums) >= 6
    values = [
        value
        for match in enums
        for value in re.findall(r'^    [A-Z_0-9]+ = "(\w+)"', match[2], re.MULTILINE)
    ]
    assert len(values) > 100
    assert [value for value in values if f"`{value}`" not in text] == []
