# `make run` trades on the paper gateway; `make test` checks everything. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
endif
STAMP := $(VENV)/.installed
SOAK_MINUTES ?= 60

.PHONY: run test lint bench soak sim clean

run: $(STAMP)
	$(BIN)/moondev-ibkr run

test: $(STAMP) lint
	$(BIN)/python -m pytest -q -n auto --dist loadfile --cov --cov-report=term:skip-covered --cov-fail-under=90

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy src

bench: $(STAMP)
	$(BIN)/python -m benchmarks --json bench.json

soak: $(STAMP)
	$(BIN)/python -m pytest -q tests --soak
	$(BIN)/python -m benchmarks.soak --minutes $(SOAK_MINUTES) --json soak.json

sim: $(STAMP)
	$(BIN)/python -m tests.sim --seconds 600 --jobs 2

$(STAMP): setup.py pyproject.toml src/brokers/interactive_brokers/ib_async_client/fast_ticks.pyx
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -e ".[test]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
