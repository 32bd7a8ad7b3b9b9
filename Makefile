# Everything runs in .venv, which each target makes if it is not there.

PYTHONS := $(shell sh .ci/pythons)
PYTHON := $(or $(firstword $(PYTHONS)),python3)
VENV := .venv
BIN := $(VENV)/bin

RELEASE := .venv-release/bin

.PHONY: help demo test lint typecheck docs dist changes benchmark features soak clean

help:
	@echo 'make demo       run the examples'
	@echo 'make test       lint, type checks, and the tests on every Python here'
	@echo 'make lint       ruff, codespell and zizmor'
	@echo 'make typecheck  mypy and pyright'
	@echo 'make docs       the documentation, in docs/_build'
	@echo 'make dist       wheel and sdist, checked, in dist'
	@echo 'make changes    put the fragments of CHANGES/ into CHANGES.rst, for a release'
	@echo 'make benchmark  comparison of speed with other libraries, in some minutes'
	@echo 'make features   comparison of what they can do, for the documentation'
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
	@if [ -x $(BIN)/codespell ]; then $(BIN)/codespell; fi
	@if [ -x $(BIN)/zizmor ]; then $(BIN)/zizmor --offline --quiet .github; fi

typecheck: $(VENV)/ready
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.14
	$(BIN)/pyright

docs: .venv-release/ready
	$(RELEASE)/towncrier build --draft --version 'To come' --date 'not released yet' >docs/_next.rst
	$(RELEASE)/sphinx-build -q -E -W --keep-going -b html docs docs/_build
	@echo 'Written: docs/_build/index.html'

dist: .venv-release/ready
	sh .ci/dist $(PYTHON)

changes: .venv-release/ready
	$(RELEASE)/towncrier build --yes

benchmark: $(VENV)/ready
	$(BIN)/python benchmarks/compare.py

features: $(VENV)/ready
	$(BIN)/python benchmarks/features.py

soak: $(VENV)/ready
	$(BIN)/python tests/soak.py $(SECONDS)
	MODEL_EXAMPLES=5000 $(BIN)/python -m pytest tests/test_model.py

$(VENV)/ready: requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -e .
	@touch $@

.venv-release/ready: requirements-release.txt
	$(PYTHON) -m venv --clear .venv-release
	$(RELEASE)/python -m pip install --quiet --disable-pip-version-check -r requirements-release.txt
	@touch $@

clean:
	rm -rf $(VENV) .venv-* benchmarks/.peers docs/_build docs/_next.rst .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -prune -exec rm -rf {} +
