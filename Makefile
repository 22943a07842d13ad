# Every target sets up what it needs, once: a virtual environment, the packages, the model's weights.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test oracle coverage stress check bench gpu docs clean

# Only what a user installs, so that the demo proves that it is enough.
demo: $(VENV)/.demo
	$(BIN)/msgflow demo

test: $(VENV)/.dev
	$(BIN)/msgflow models pull smollm2
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

# PyTorch, which the suite compares numbers with where it is there. Gigabytes on many machines.
oracle: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local,dev,oracle]'

# The suite again, twice as slow.
coverage: $(VENV)/.dev
	$(BIN)/msgflow models pull smollm2
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal --cov

stress: $(VENV)/.dev
	$(BIN)/python -m pytest -m stress --timeout 900

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/budgets.py msgflow tests examples bench scripts

bench: $(VENV)/.dev
	$(BIN)/msgflow models pull smollm2
	$(BIN)/python bench/run.py

# What there is no need for without a GPU of NVIDIA and cupy: pip install 'msgflow[gpu]'.
gpu: $(VENV)/.dev
	$(BIN)/python bench/gpu.py

docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site dist .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("msgflow needs Python 3.11 or newer; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local,dev]'
	touch $@ $(VENV)/.demo
