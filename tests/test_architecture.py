"""What holds for the whole house: who imports whom, what is documented, how long files are."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from tests.places import ROOT

# Each may import itself and what stands after it.
PACKAGES = ("deployments", "flows", "tasks", "storage")
FOLDERS = (*PACKAGES, "benchmarks", "samples", "tests", "docs")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".sh", ".ini", ".cfg"}
MOST_LINES = 450
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
# In tasks/ only these know Prefect and the database: `steps.py`, `*_steps.py`, what runs them, and
# what keeps snapshots.
BINDING = re.compile(r"tasks/(running/.*|snapshots\.py|(.*/)?(\w+_)?steps\.py)")
# Of storage the other modules of tasks/ know what knows no database.
PURE_STORAGE = ("storage.errors", "storage.files")
KEPT_OUT = {"prefect", "sqlmodel", "sqlalchemy", "psycopg"}
PURE_MODULES = [
    path
    for path in MODULES
    if path.is_relative_to(ROOT / "tasks")
    and not BINDING.fullmatch(path.relative_to(ROOT).as_posix())
]


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def imported_modules(path):
    """Every module that a file imports, also inside of functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


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


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_one_way(path):
    allowed = PACKAGES[PACKAGES.index(path.relative_to(ROOT).parts[0]) :]
    for module in imported_modules(path):
        top = module.partition(".")[0]
        assert top not in ("tests", "benchmarks", "samples"), module
        assert top not in PACKAGES or top in allowed, f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", PURE_MODULES, ids=name_of)
def test_only_the_binding_module_of_a_package_knows_prefect_and_the_database(path):
    for module in imported_modules(path):
        assert module.partition(".")[0] not in KEPT_OUT, f"{name_of(path)} imports {module}"
        if module == "storage" or module.startswith("storage."):
            assert module.startswith(PURE_STORAGE), f"{name_of(path)} imports {module}"


def test_pure_modules_load_neither_prefect_nor_a_database_driver():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in PURE_MODULES
    ]
    assert len(modules) > 10
    # One interpreter for all: whoever loads one of them is named.
    program = f"""
import importlib, sys
kept_out = {KEPT_OUT!r}
for module in {modules!r}:
    importlib.import_module(module)
    loaded = kept_out & set(sys.modules)
    assert not loaded, (module, loaded)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_file_is_too_long_to_be_read():
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in own_files()
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


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_everything_public_says_what_it_is(path):
    if "versions" in path.parts:
        return  # migrations have `upgrade` and `downgrade`, which Alembic documents
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "a module says what it is for"
    assert list(undocumented(tree, name_of(path))) == []


def test_no_file_names_a_place_of_somebodys_machine():
    homes = re.compile(r"/(home|Users)/(?!user\b|you\b|me\b)\w|[A-Z]:\\Users\\")
    places = {str(ROOT), f"{ROOT.parent}/"} - {"/"}
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in own_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if homes.search(line) or any(place in line for place in places)
    ]
    assert found == []


def test_every_test_module_mirrors_a_package():
    mirrored = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert mirrored - {"data", "end_to_end", "__pycache__"} <= set(FOLDERS)
