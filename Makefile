# The README's commands. Each makes its own environment in .venv and needs Python ≥ 3.10 alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# An environment with the oldest versions that pycellbox takes.
LOWEST := .venv-lowest
# Tests are shared among processes.
SHARED := --numprocesses=auto --maxprocesses=4 --dist=worksteal

.PHONY: demo test quick coverage lowest docs lint clean

demo: $(VENV)/.demo
	$(BIN)/pycellbox demo --out pycellbox-demo

test: $(VENV)/.test
	$(BIN)/python -m pytest $(SHARED)

quick: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow"

# Of the quick tests: until Python 3.14 counting lines takes them nearly twice as long.
coverage: $(VENV)/.test
	$(BIN)/python -m coverage run -m pytest -m "not slow" -q
	$(BIN)/python -m coverage report

lowest: $(LOWEST)/.test
	$(LOWEST)/bin/python -m pytest $(SHARED) -m "not slow"

docs: $(VENV)/.docs
	rm -rf docs/api/generated
	$(BIN)/python -m sphinx -b html -E -q -W --keep-going docs docs/_build/html

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(LOWEST) .coverage pycellbox-demo build dist docs/_build docs/api/generated

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp for each set of dependencies, so that they are installed once and again when they change.
$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[all]"
	touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	touch $@

$(LOWEST)/.test: tests/lowest.txt pyproject.toml
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint tests/lowest.txt --editable ".[quick]"
	touch $@

$(VENV)/.docs: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	touch $@

$(VENV)/.lint: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[all,lint]"
	touch $@
