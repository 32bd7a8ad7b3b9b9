# Everything runs in .venv, which each target makes if it is not there.

PYTHONS := $(shell sh .ci/pythons)
PYTHON := $(or $(firstword $(PYTHONS)),python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test lint typecheck benchmark soak clean

help:
	@echo 'make demo       run the examples'
	@echo 'make test       lint, type checks, and the tests on every Python here'
	@echo 'make lint       ruff'
	@echo 'make typecheck  mypy and pyright'
	@echo 'make benchmark  comparison with other libraries, in some minutes'
	@echo 'make soak       load and random interleavings, for SECONDS (180)'
	@echo 'make clean      remove all that these have made'

demo: $(VENV)/ready
	$(BIN)/python examples/get_pep.py
	$(BIN)/python examples/user_service.py
	$(BIN)/python examples/metrics.py

test: lint typecheck
	@for python in $(or $(PYTHONS),python3); do \
	    $$python --version && sh .ci/suite $$python || exit 1; \
	done
	PYTHONASYNCIODEBUG=1 $(BIN)/python -X dev -m pytest --bare

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(VENV)/ready
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.14
	$(BIN)/pyright

benchmark: $(VENV)/ready
	$(BIN)/python benchmarks/compare.py

soak: $(VENV)/ready
	$(BIN)/python tests/soak.py $(SECONDS)
	MODEL_EXAMPLES=5000 $(BIN)/python -m pytest tests/test_model.py

$(VENV)/ready: requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -e .
	@touch $@

clean:
	rm -rf $(VENV) .venv-* benchmarks/.peers .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -prune -exec rm -rf {} +
