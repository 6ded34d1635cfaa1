# make study    own environment, install, the main job on the embedded data
# make ui       MLflow's UI on the studies' store, for this machine only
# make test     the tests
# make check    lint, format, types, import contracts and tests
# make docs     the documentation as HTML, into docs/_build
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: study ui test check lint format docs linkcheck install clean

study: install
	$(BIN)/python -m studies.ternary_sparsity

ui: install
	$(BIN)/python -m studies.ui

test: install
	$(BIN)/python -m pytest -n 2

check: lint
	$(BIN)/python -m pytest -n 2

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# -E reads every page anew: a page kept from the last build would not repeat its warnings.
docs: install
	$(BIN)/python -m sphinx -q -E -b html -W --keep-going -n docs docs/_build

linkcheck: install
	$(BIN)/python -m sphinx -q -b linkcheck docs docs/_build/linkcheck

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; found " + sys.version.split()[0] + ". Name another with: make PYTHON=python3.12 study")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) docs/_build build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
