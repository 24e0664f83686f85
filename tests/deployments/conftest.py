"""The command in this process, where that is equal, and in processes of its own."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from deployments.cli.main import main
from tests.places import DATA


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    status: int
    output: str
    errors: str

    def json(self, status: int = 0) -> Any:
        assert self.status == status, self.errors
        return json.loads(self.output)

    def is_one_sentence(self) -> bool:
        """Nothing on standard output, one line on standard error, no traceback."""
        return (
            self.output == ""
            and self.errors.startswith("Error: ")
            and self.errors.count("\n") == 1
            and "Traceback" not in self.errors
        )


@pytest.fixture
def invoke(home, monkeypatch, capsys):
    """Runs the entry point of the command as if it had been typed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["visionflows", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        output, errors = capsys.readouterr()
        return Finished(int(left.value.code or 0), output, errors)

    return run


@pytest.fixture
def photographs(tmp_path):
    """Three small photographs, one of them twice, and a file that is no image."""
    folder = tmp_path / "photographs"
    shutil.copytree(DATA / "dark-retinexnet" / "data" / "eval" / "low", folder)
    shutil.copy(folder / "1.png", folder / "copy of 1.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder
