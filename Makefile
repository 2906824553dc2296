PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test test-all check format bench

setup: $(VENV)/.ready  ## a virtual environment with the pinned dependencies

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev,local-s3,wandb]"
	touch $@

format: setup
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: setup  ## every test but the slow ones: CPU, no network
	$(BIN)/pytest -m "not gpu and not slow"

test-all: setup
	$(BIN)/pytest
