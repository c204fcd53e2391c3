# make app        set up .venv once, open the app
# make serve      the app for the public: all interfaces, no typed paths (docs/serve.md)
# make test       set up .venv and a browser once, run every check
# make lint       only the checks that take seconds; make format mends what they find
# make notebooks  run the notebooks, keep their new outputs
# make docs       README, guides, notebooks and API as pages: site/index.html
# make clean      forget the set-up

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help app serve test lint format notebooks docs clean

BIN := .venv/bin
RUN_READY := .venv/.ready-to-run
TEST_READY := .venv/.ready-to-test

help:
	@grep '^# make' Makefile | cut -c 3-

app: $(RUN_READY)
	$(BIN)/python -m app.serve --local

serve: $(RUN_READY)
	$(BIN)/python -m app.serve

test: lint
	$(BIN)/python -m pytest

lint: $(TEST_READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

format: $(TEST_READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

notebooks: $(TEST_READY)
	$(BIN)/jupyter execute --inplace notebooks/*.ipynb

docs: $(TEST_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean:
	rm -rf .venv

# A stamp is touched last: a set-up that failed half-way is repeated, a finished one is not.
$(RUN_READY): requirements.txt pyproject.toml | .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(TEST_READY): requirements-dev.txt $(RUN_READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@bash .ci/browser
	@touch $@

.venv:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Setting up .venv with $$($$python --version), once: some minutes, up to 6 GB."; \
	    $$python -m venv .venv && exit 0; \
	    rm -rf .venv; exit 1; \
	  fi; \
	done; \
	echo "Python 3.11 or newer is needed, and $$(python3 --version 2>/dev/null || echo 'no python3') \
	is what was found: install one, or name it with PYTHON=/path/to/python." >&2; exit 1
