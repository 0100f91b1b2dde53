# Joulery: every target sets itself up from nothing (virtual environment, tools, control plane) and is quick the
# second time. Needed: Python >= 3.11, Go >= 1.26 (only to build the control plane, once), a C compiler, make, git.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Most end-to-end tests wait for something: modules run side by side, each worker on a control plane of its own.
WORKERS ?= 2
SIDE_BY_SIDE = $(if $(filter-out 1,$(WORKERS)),--numprocesses=$(WORKERS) --dist=loadfile)

# The programs of the control plane: found, or built once and cached outside the tree.
WITH_CONTROL_PLANE = KUBEBUILDER_ASSETS="$$($(PYTHON) hack/tools.py assets)"; export KUBEBUILDER_ASSETS;

.PHONY: help demo test unit e2e soak verify generate bench calibrate figures locks clean setup

help: ## This list
	@echo "Joulery: LLM inference for less energy, inside its latency objectives"
	@echo
	@sed -nE 's/^([a-z0-9]+):.*## (.*)$$/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) \
		| while IFS=$$'\t' read -r name text; do printf '  make %-9s %s\n' "$$name" "$$text"; done
	@echo
	@echo "  DEMO_FLAGS='--day 14 --seed 3' and PYTEST_FLAGS='-k name -x' are handed on; PYTHON=python3.12 chooses the"
	@echo "  interpreter; JOULERY_KUBECONFIG=file uses a cluster of yours (hack/kind/) instead of the embedded one."

demo: $(READY) ## A cluster under a day of public load, run by Joulery: table, build/demo/report.html, summary.json
	@$(WITH_CONTROL_PLANE) $(BIN)/python -m joulery demo $(DEMO_FLAGS)

test: $(READY) ## The suite of every change, end to end on a real control plane included
	@$(WITH_CONTROL_PLANE) $(BIN)/pytest -m "not soak" $(SIDE_BY_SIDE) $(PYTEST_FLAGS)

unit: $(READY) ## The tests that need no control plane: seconds
	@$(BIN)/pytest -m "not soak and not e2e" $(PYTEST_FLAGS)

e2e: $(READY) ## Only the tests on a real control plane
	@$(WITH_CONTROL_PLANE) $(BIN)/pytest -m "e2e and not soak" $(PYTEST_FLAGS)

soak: $(READY) ## Long campaigns: operator kills, faults, days of replay; figures in build/
	@$(WITH_CONTROL_PLANE) $(BIN)/pytest -m soak $(PYTEST_FLAGS)
	@$(BIN)/python -m joulery evaluate --campaign
	@$(BIN)/python -m joulery evaluate --trust

verify: $(READY) ## Lint, format, types, import rules, generated files, lock files
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python hack/generate.py --check
	@$(BIN)/python hack/locks.py --check

generate: $(READY) ## Write the generated files again (CRDs and what is made from them)
	@$(BIN)/python hack/generate.py

bench: $(READY) ## Measure what has a budget; figures in build/bench.json
	@$(WITH_CONTROL_PLANE) $(BIN)/python hack/bench.py $(BENCH_FLAGS)

calibrate: $(READY) ## Fit the serving model to public rows and print its held-out errors; figures in build/calibration.json
	@$(BIN)/python -m joulery calibrate --write

figures: ## Print every figure that the commands above have measured
	@$(PYTHON) hack/figures.py

locks: $(READY) ## Resolve the dependencies again and write requirements/*.txt with hashes
	@$(BIN)/python hack/locks.py

clean: ## Remove what the commands wrote (build/, caches), not .venv and not the cached control plane
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find operator tests hack -name __pycache__ -type d -prune -exec rm -rf {} +

setup: $(READY) ## Only set up: virtual environment, and the control plane's programs
	@$(PYTHON) hack/tools.py assets >/dev/null

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) hack/tools.py check
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "setting up .venv from requirements/dev.txt"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@
