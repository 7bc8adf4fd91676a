# Every target does its own set-up and can be the first thing that is run after a clone.
# PYTHON=/path/to/python3.12 chooses the Python; it is found otherwise.

BIN := .venv/bin
SETUP := @sh scripts/setup.sh
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup browser demo test test-fast test-engines lab app lint bench pictures lock generate clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

setup: ## Make .venv with everything in it; the other targets do this by themselves
	$(SETUP)

browser: setup
	@$(BIN)/python tests/ensure_browser.py

demo: setup ## Run the quickstart notebook as a report and say where the report is
	@$(BIN)/lepton-nb report run notebooks/01_quickstart.ipynb

test: setup browser ## Run all tests, the comparison with other engines included (Java 17)
	@$(BIN)/python -m pytest
	@$(MAKE) --no-print-directory test-engines

test-fast: setup ## Run the tests that need no browser and are not slow
	@$(BIN)/python -m pytest -m "not browser and not slow"

test-engines: setup ## Run the same window queries in Spark, Flink, Beam, DuckDB and ours, and compare the rows
	@sh scripts/engines.sh
	@$(BIN)/python tests/engines/compare.py

lab: setup ## Open JupyterLab on the notebooks
	@$(BIN)/lepton-nb lab

app: setup ## Show the quickstart notebook as a Voilà app
	@$(BIN)/lepton-nb app notebooks/01_quickstart.ipynb

lint: setup ## Check style, format, types, notebooks and generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/nbstripout --keep-id --verify notebooks/*.ipynb
	@$(BIN)/python scripts/environments.py --check

bench: setup ## Run all benchmarks and print one summary
	@$(BIN)/python benchmarks/run_all.py

pictures: setup browser ## Draw the README's pictures from a real report and a running app
	@$(BIN)/python scripts/pictures.py

lock: setup ## Write constraints.txt anew from the newest versions that go together
	@$(BIN)/python scripts/lock.py
	@$(BIN)/python scripts/environments.py

generate: setup ## Write environment.yml and binder/ anew from pyproject.toml
	@$(BIN)/python scripts/environments.py

clean: ## Remove .venv and everything else that make, the tests and the tools wrote
	@rm -rf .venv .venv-engines reports/out benchmarks/out tests/artifacts build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find lepton_nb tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
