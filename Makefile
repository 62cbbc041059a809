# `make demo` and `make test` do all their own set-up: a virtual environment in .venv, made once and reused.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all check format clean

demo: .venv/.core  ## degradation and its cure on handwritten digits, about two minutes on two cores
	$(BIN)/reslab paper run fig1 --data digits --out demo

test: check  ## what every change must pass
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

test-all: check  ## the long tests too
	$(BIN)/pytest -n 2 --dist loadfile

check: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/.core: pyproject.toml
	@echo "Setting up .venv: once, some minutes"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/.dev: pyproject.toml
	@echo "Setting up .venv for development: once, some minutes"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@ .venv/.core

clean:
	rm -rf .venv demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
