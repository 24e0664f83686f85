# Everything happens in .venv and .visionflows beside this file; `make clean` removes both.
# Paths are relative, so that a checkout may lie in a folder with blanks.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
export VISIONFLOWS_HOME ?= $(CURDIR)/.visionflows
# Images of Python set it; the many processes of a demo or a test run would compile all again.
unexport PYTHONDONTWRITEBYTECODE

# A machine without a screen often lacks libGL; OpenCV has a build without windows for it.
OPENCV_FOR_SERVERS = "$(BIN)/python" -c 'import cv2' 2>/dev/null || \
  $(PIP) install --quiet --force-reinstall --no-deps \
    "$$(grep '^opencv-python==' constraints.txt | sed 's/python/python-headless/')"

# Each process has a PostgreSQL and a Prefect server of its own, and waits for them now and then:
# three fill two cores.
SIDE_BY_SIDE ?= --numprocesses 3 --dist worksteal

.PHONY: help demo test test-fast coverage soak bench lint audit wheel install install-dev clean

help: ## show what there is
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

demo: install ## set everything up and run the flows on the samples
	@"$(BIN)/python" samples/demo.py

test: install-dev ## run all tests
	"$(BIN)/python" -m pytest $(SIDE_BY_SIDE) $(PYTEST_ARGUMENTS)

test-fast: install-dev ## run the tests that need neither a database nor a Prefect server
	"$(BIN)/python" -m pytest -m "not services" $(SIDE_BY_SIDE) $(PYTEST_ARGUMENTS)

coverage: install-dev ## run all tests and tell which lines they reach; takes half as long again
	"$(BIN)/python" -m coverage erase
	"$(BIN)/python" -m pytest --cov --cov-report=term $(SIDE_BY_SIDE) $(PYTEST_ARGUMENTS)

soak: install-dev ## disturb every flow at seeded instants, feed readers damaged files: SEED=1 TRIALS=50
	"$(BIN)/python" -m tests.faults --seed $(or $(SEED),1) --kills $(or $(TRIALS),50) \
	  --cancels $(or $(CANCELS),200) --write
	"$(BIN)/python" -m pytest tests/faults/engines.py
	"$(BIN)/python" -m tests.faults.full_disk --seed $(or $(SEED),1) --write

bench: install-dev ## run all benchmarks, half an hour; figures and plots go into docs/
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	"$(BIN)/python" -m benchmarks

lint: install-dev ## ruff and mypy
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"

wheel: $(VENV)/bin/python ## build a wheel with the compiled parts into dist/, for machines without a compiler
	@rm -rf build dist && $(PIP) wheel --quiet --no-deps --wheel-dir dist .
	@"$(BIN)/python" -m zipfile -l dist/visionflows-*.whl | grep -q '_pixel_kernels.*\.so\|_pixel_kernels.*\.pyd' || \
	  { echo "The compiled parts could not be built: is there a C compiler?"; rm -rf dist; exit 1; }
	@rm -rf build && ls dist

# What the list of vulnerabilities does not know, or where it cannot be asked, is counted too.
AUDIT_COUNTS = import json, sys; told = json.load(sys.stdin)["dependencies"]; \
  unknown = sum("skip_reason" in one for one in told); \
  print(f"{len(told) - unknown} of {len(told)} packages looked up, {unknown} could not be.")

audit: $(VENV)/audit ## look for known vulnerabilities of the pinned packages; needs the internet
	@"$(VENV)/audit/bin/pip-audit" --requirement constraints.txt --no-deps --disable-pip \
	  --progress-spinner off --format json --output "$(VENV)/audit.json" 2>"$(VENV)/audit.log"; \
	  found=$$?; test -s "$(VENV)/audit.json" || { cat "$(VENV)/audit.log"; exit 1; }; \
	  "$(BIN)/python" -c '$(AUDIT_COUNTS)' <"$(VENV)/audit.json"; \
	  test $$found = 0 || { cat "$(VENV)/audit.json"; exit 1; }

# In an environment of its own: what it needs is not what we need.
$(VENV)/audit: $(VENV)/bin/python
	@$(PYTHON) -m venv "$@" && "$@/bin/python" -m pip install --quiet pip-audit || \
	  { rm -rf "$@"; exit 1; }

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv "$(VENV)"

PACKAGE := pyproject.toml constraints.txt setup.py $(wildcard tasks/quality/*/*.c tasks/quality/*/*.h)

$(VENV)/installed: $(VENV)/bin/python $(PACKAGE)
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@$(OPENCV_FOR_SERVERS)
	@touch "$@"

$(VENV)/installed-dev: $(VENV)/bin/python $(PACKAGE)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@$(OPENCV_FOR_SERVERS)
	@touch "$@" "$(VENV)/installed"

clean: ## remove the virtual environment and the demo's results
	@# Root's database lies elsewhere, where a link in .visionflows leads.
	@if [ -L .visionflows/postgresql ]; then rm -rf "$$(dirname "$$(readlink .visionflows/postgresql)")"; fi
	rm -rf "$(VENV)" .visionflows
