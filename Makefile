# Needs Python 3.11 or newer (with venv) and make, nothing else. `make help` lists the targets.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements.lock
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --constraint $(LOCK)
# A kernel's cache is known by its source, so any change below these folders may need a new compilation.
KERNELS := $(shell find src/wildsage/algorithms src/wildsage/data src/wildsage/kernels src/wildsage/runtime -name '*.py' 2>/dev/null)

.PHONY: help quickstart install test check lint types unit docs picture lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: $(VENV)/.kernels ## make .venv, install, train a classifier on real reviews, deploy it, ask it
	@$(BIN)/wildsage quickstart

install: $(VENV)/.installed ## make .venv and install the checkout into it

test: check unit ## install what the tests need, check style and types, run every test

check: lint types

lint: $(VENV)/.tested ## check style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.tested ## check types, strictly
	@$(BIN)/mypy

unit: $(VENV)/.tested ## run every test; make unit ARGS="tests/test_cli.py -x" runs some
	@$(BIN)/python -m pytest $(ARGS)

docs: $(VENV)/.tested ## write the generated pages of docs/ again
	@$(BIN)/python docs/generate.py

picture: $(VENV)/.kernels ## run the quickstart and keep its picture for the README
	@$(BIN)/python docs/screenshot.py

lock: ## resolve every dependency anew; needs uv (pip install uv)
	@uv pip compile pyproject.toml --all-extras --group build --universal --python-version 3.11 --upgrade \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet --output-file $(LOCK)

clean: ## remove .venv, caches and build results
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests bench examples docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A shim can be on the PATH and not run, and Debian parts venv from Python: each candidate is tried, not just looked up.
$(BIN)/python:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$("$$python" --version)"; \
	    rm -rf $(VENV); exec "$$python" -m venv $(VENV); \
	  fi; \
	done; \
	echo 'Wildsage needs Python 3.11 or newer with its venv module, and found none.' >&2; \
	echo 'Debian and Ubuntu: sudo apt install python3-venv. macOS: brew install python.' >&2; \
	echo 'Or name one: make quickstart PYTHON=/path/to/python3' >&2; exit 1

# The build backend comes from the lock file too, so the build needs no isolated environment of its own.
$(VENV)/.installed: $(BIN)/python $(LOCK) pyproject.toml
	@echo "Installing Wildsage into $(VENV) (a minute or two, once)"
	@$(PIP) hatchling editables
	@$(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	@echo "Installing what the tests need"
	@$(PIP) --no-build-isolation --editable '.[test]'
	@touch $@

$(VENV)/.kernels: $(VENV)/.installed $(KERNELS)
	@echo "Compiling kernels for this processor (once)"
	@$(BIN)/python -m wildsage.runtime.warm blazingtext # the quickstart's; others at their first job, which says so
	@touch $@
