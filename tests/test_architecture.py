"""What holds for the whole house: who imports whom, what is documented, how long files are."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter

from tests.places import ROOT

# Each may import itself and what stands after it.
LAYERS = ("deployments", "flows", "tasks", "storage")
FOLDERS = (*LAYERS, "benchmarks", "samples", "tests", "docs")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".sh", ".ini", ".cfg"}
MOST_LINES = 450
MOST_ENTRIES = 12
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for layer in LAYERS
    for path in sorted((ROOT / layer).rglob("*.py"))
}
# In tasks/ only these know Prefect and the database: `steps.py`, `*_steps.py`, what runs them, and
# what keeps snapshots.
BINDING = re.compile(r"tasks\.(running\..*|snapshots|(.*\.)?(\w+_)?steps)")
KEPT_OUT = {"prefect", "sqlmodel", "sqlalchemy", "psycopg"}
# What is pure in storage: errors, how files are written, and records of plain values.
PURE_STORAGE = (
    *("storage.errors", "storage.records"),
    *("storage.files", "storage.files.places", "storage.files.fetched"),
)
PURE = [name for name in FILES if name.startswith("tasks.") and not BINDING.fullmatch(name)]


@cache
def tree_of(name):
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


@cache
def imported_by(name):
    """Every module that a module imports, also inside of functions."""
    found = set()
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in FILES else node.module)
    return found


def own_imports(name):
    """Those of the house."""
    return {module for module in imported_by(name) if module in FILES} - {name}


def own_files():
    """The text files of the project; data of tests and samples are not written by us."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            is_data = path.is_relative_to(ROOT / "tests" / "data")
            if path.is_file() and path.suffix in TEXT_SUFFIXES and not is_data:
                yield path
    for path in sorted(ROOT.iterdir()):
        if path.is_file() and (path.suffix in TEXT_SUFFIXES or path.name == "Makefile"):
            yield path


def test_imports_run_one_way():
    wrong = []
    for name in FILES:
        allowed = LAYERS[LAYERS.index(name.partition(".")[0]) :]
        for module in imported_by(name):
            top = module.partition(".")[0]
            if top in FOLDERS and top not in allowed:
                wrong.append((name, module))
    assert wrong == []


def circles(arrows):
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_modules_import_each_other():
    assert circles({name: own_imports(name) for name in FILES}) == []


def test_no_sister_folders_import_each_other():
    sisters = defaultdict(lambda: defaultdict(set))
    for name in FILES:
        for module in own_imports(name):
            own, other = name.split("."), module.split(".")
            shared = 0
            while own[shared : shared + 1] == other[shared : shared + 1] and shared < len(own):
                shared += 1
            if 0 < shared < min(len(own), len(other)):
                parent = ".".join(own[:shared])
                sisters[parent][own[shared]].add(other[shared])
    assert len(sisters) > 20
    assert {parent: found for parent, among in sisters.items() if (found := circles(among))} == {}


def test_only_steps_know_prefect_and_the_database():
    assert len(PURE) > 100
    wrong = []
    for name in PURE:
        for module in imported_by(name):
            is_kept_out = module.partition(".")[0] in KEPT_OUT
            is_storage = module.partition(".")[0] == "storage" and module not in PURE_STORAGE
            if is_kept_out or is_storage or BINDING.fullmatch(module):
                wrong.append((name, module))
    assert wrong == []


def test_pure_modules_load_neither_prefect_nor_a_database_driver():
    # One interpreter for all: whoever loads one of them is named.
    program = f"""
import importlib, sys
kept_out = {KEPT_OUT!r}
for module in {PURE!r}:
    importlib.import_module(module)
    loaded = kept_out & set(sys.modules)
    assert not loaded, (module, loaded)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_folders_are_small_enough_to_be_read():
    folders = {path.parent for path in FILES.values()}
    entries = {
        folder.relative_to(ROOT).as_posix(): [
            entry
            for entry in folder.iterdir()
            if entry.name not in ("__init__.py", "__pycache__")
            and entry.suffix not in (".so", ".pyd")
        ]
        for folder in folders
    }
    assert {name: len(found) for name, found in entries.items() if len(found) > MOST_ENTRIES} == {}


def test_no_file_is_too_long_to_be_read():
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in own_files()
        # Pages that are written from the code are looked up, not read.
        if path.parent != ROOT / "docs" / "reference"
    }
    assert len(lengths) > 50
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def undocumented(node, prefix):
    """Public functions, methods and classes below a node that have no docstring."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if child.name.startswith("_"):
            continue
        name = f"{prefix}.{child.name}"
        if not ast.get_docstring(child):
            yield name
        if isinstance(child, ast.ClassDef):
            yield from undocumented(child, name)


def test_everything_public_says_what_it_is():
    silent = []
    for name in FILES:
        if not ast.get_docstring(tree_of(name)):
            silent.append(name)
        if ".migrations.versions." not in name:  # Alembic documents `upgrade`
            silent += undocumented(tree_of(name), name)
    assert silent == []


def test_no_file_names_a_place_of_somebodys_machine():
    homes = re.compile(r"/(home|Users)/(?!user\b|you\b|me\b)\w|[A-Z]:\\Users\\")
    # A checkout may lie in the folder for temporary files, which some tests name.
    places = {str(ROOT), f"{ROOT.parent}/"} - {"/", f"{tempfile.gettempdir()}/"}
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in own_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if homes.search(line) or any(place in line for place in places)
    ]
    assert found == []


def test_tests_mirror_the_house():
    """Below tests/ the folders of a layer are folders of that layer."""
    mirrored = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert mirrored - {"data", "end_to_end", "faults", "__pycache__"} <= set(FOLDERS)
    for layer in ("deployments", "tasks", "storage"):
        for folder in (ROOT / "tests" / layer).rglob("*"):
            if folder.is_dir() and folder.name != "__pycache__":
                assert (ROOT / folder.relative_to(ROOT / "tests")).is_dir(), folder
