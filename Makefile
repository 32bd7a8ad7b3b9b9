# Most targets run in .venv, which they make if it is not there.

FOUND := $(shell sh .ci/pythons)
# The Python of .venv, and those of `make test-all`.
PYTHON := $(or $(firstword $(FOUND)),python3)
PYTHONS := $(filter-out $(PYTHON),$(FOUND))
# How long `make soak` takes for the load, and for each attack.
SECONDS := 60

VENV := .venv
BIN := $(VENV)/bin
RELEASE := .venv-release/bin
PIP_INSTALL := python -m pip install --quiet --disable-pip-version-check

.PHONY: help dev demo test test-all check-more lint typecheck coverage checkers workflows \
	docs dist changes benchmark features soak hooks clean

help:
	@echo 'make dev         set up a development environment in .venv'
	@echo 'make hooks       lint before each commit'
	@echo
	@echo 'make demo        run the examples'
	@echo 'make test        lint, type checks, and the tests with coverage, on one Python'
	@echo 'make test-all    the tests on every other Python found, or on PYTHONS="..."'
	@echo 'make check-more  everything that takes longer: checkers, docs, dist and soak'
	@echo
	@echo 'make lint        ruff and codespell'
	@echo 'make typecheck   mypy and pyright'
	@echo 'make coverage    the tests, which must cover every branch'
	@echo 'make checkers    the other checkers, and the tests in debug mode'
	@echo 'make workflows   check the GitHub workflows'
	@echo 'make docs        build the documentation in docs/_build'
	@echo 'make dist        build wheel and sdist in dist and check them'
	@echo 'make soak        load and random attacks, for SECONDS (60) each'
	@echo 'make benchmark   compare the speed with that of other libraries'
	@echo 'make features    compare the features with those of other libraries'
	@echo 'make changes     move the fragments in CHANGES/ to CHANGES.rst, for a release'
	@echo 'make clean       remove everything that these targets make'

dev: $(VENV)/ready
	@echo 'Ready: . $(BIN)/activate'

hooks: $(VENV)/more
	$(BIN)/pre-commit install

demo: $(VENV)/ready
	$(BIN)/python examples/get_pep.py
	$(BIN)/python examples/user_service.py
	$(BIN)/python examples/metrics.py
	$(BIN)/python examples/threads.py
	$(BIN)/python examples/processes.py

test: lint typecheck coverage

test-all:
	@failed=; \
	for python in $(PYTHONS); do sh .ci/suite $$python || failed="$$failed $$python"; done; \
	if [ -n "$$failed" ]; then echo "Failed:$$failed"; exit 1; fi

check-more: checkers docs dist soak

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@if [ -x $(BIN)/codespell ]; then $(BIN)/codespell; fi

typecheck: $(VENV)/ready
	$(BIN)/mypy
	$(BIN)/pyright

coverage: $(VENV)/ready
	$(BIN)/python -m coverage run -m pytest -m 'not more'
	$(BIN)/python -m coverage report

checkers: workflows $(VENV)/more
	$(BIN)/mypy --python-version 3.14
	$(BIN)/python -m pytest -m 'once or more'
	PYTHONASYNCIODEBUG=1 $(BIN)/python -X dev -m pytest -m 'not once and not more'
	$(BIN)/python -m pytest benchmark.py  # each scenario once, for its checks

workflows: $(VENV)/more
	sh .ci/workflows

docs: .venv-release/ready
	$(RELEASE)/towncrier build --draft --version 'To come' --date 'not released yet' >docs/_next.rst
	$(RELEASE)/sphinx-build -q -E -W --keep-going -b html docs docs/_build
	@echo 'Written: docs/_build/index.html'

dist: .venv-release/ready
	sh .ci/dist $(PYTHON)

soak: $(VENV)/ready
	$(BIN)/python tests/soak.py $(SECONDS)
	$(BIN)/python tests/attacks.py $(SECONDS)
	$(BIN)/python tests/tier_model.py $(SECONDS)
	MODEL_EXAMPLES=5000 $(BIN)/python -m pytest tests/test_model.py

benchmark: $(VENV)/ready
	$(BIN)/python benchmarks/sharing.py
	$(BIN)/python benchmarks/tier.py
	$(BIN)/python benchmarks/compare.py

features: $(VENV)/ready
	$(BIN)/python benchmarks/features.py

changes: .venv-release/ready
	$(RELEASE)/towncrier build --yes

$(VENV)/ready: requirements-suite.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/$(PIP_INSTALL) -r requirements-dev.txt -e .
	@touch $@

$(VENV)/more: $(VENV)/ready requirements-more.txt
	$(BIN)/$(PIP_INSTALL) -r requirements-more.txt
	@touch $@

.venv-release/ready: requirements-release.txt
	$(PYTHON) -m venv --clear .venv-release
	$(RELEASE)/$(PIP_INSTALL) -r requirements-release.txt
	@touch $@

clean:
	rm -rf $(VENV) .venv-* benchmarks/.peers docs/_build docs/_next.rst .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -prune -exec rm -rf {} +
