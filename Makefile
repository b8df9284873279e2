# Two commands: `make quickstart` runs the main job, `make test` checks the code. Needs python 3.10-3.13 and a package index.
# `make slow` runs the tests that `make test` leaves out: real processes, kills, clusters, whole programs.

PYTHON ?= python3
DATASET ?= digits
OUTPUT ?= runs/quickstart
VENV := .venv
BIN := $(VENV)/bin
# The stamps are newer than everything that an install reads, so that an unchanged clone is not installed again.
SOURCES := setup.py pyproject.toml README.md $(shell find tfadv trainers attacks -type f -not -name '*.pyc')

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help quickstart test lint types pytest slow docs wheel bazel clean distclean
.DELETE_ON_ERROR:

help:
	@echo "make quickstart [DATASET=digits|mnist]  install, then train, attack, evaluate, cross-check, export, report"
	@echo "make test                               install, then lint, types and the tests that are not marked slow"
	@echo "make slow                               install, then the tests that are marked slow"
	@echo "make docs                               build the documentation; open build/site/index.html"
	@echo "make wheel                              build dist/*.whl"
	@echo "make bazel                              build and run the fast tests under Bazel"
	@echo "make clean | distclean                  remove caches and build outputs | and $(VENV)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 10) <= sys.version_info[:2] <= (3, 13) else "tfadv needs Python 3.10 to 3.13, but $(PYTHON) is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip  # pip 23 resolves this list for hours

# Not editable: an editable install cannot place trainers/ and attacks/ inside tfadv, and the console commands would
# not find them. What runs from the clone's root (`python -m ...`, pytest) imports the clone itself. The build folder is
# removed because setuptools would pack the files that an older build left in it.
INSTALL = rm -rf build && $(BIN)/python -m pip install --disable-pip-version-check

$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	$(INSTALL) '.[crosscheck]'
	@rm -rf build && touch $@

$(VENV)/.installed-dev: $(SOURCES) | $(BIN)/python
	$(INSTALL) '.[dev,docs,crosscheck]'
	@rm -rf build && touch $(VENV)/.installed $@

quickstart: $(VENV)/.installed
	$(BIN)/python -m trainers.quickstart --dataset=$(DATASET) --output=$(OUTPUT)

test: lint types pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# Two workers, because most of a test's time is one thread that traces; a file's tests share a worker and its fixtures.
PYTEST_FLAGS ?= -n 2 --dist loadfile

# pytest ends with status 5 when it selects no test, and make passes any status but 0 on as a failure.
pytest: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PYTEST_FLAGS) -m "not slow"

slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PYTEST_FLAGS) -m slow

# Warnings are errors. The variable silences a notice about the future of the tools.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

wheel: $(VENV)/.installed-dev
	rm -rf build
	$(BIN)/python -m build --wheel

bazel: $(VENV)/.installed-dev
	sh tools/bazel/test.sh

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
