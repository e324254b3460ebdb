# Everything is set up by `make setup`, which every other target calls first: .venv, and system packages where permitted.
# ARGS go to the command behind a target: make measure ARGS="--model openai/o3", make test ARGS="-k verdict".
.DEFAULT_GOAL := help
.PHONY: help setup parts train-setup weights measure test test-slow bench lint format lock clean distclean
MAKEFLAGS += --no-print-directory
ARGS ?=
PYTHON ?=
BIN := .venv/bin
PY := $(BIN)/python

help: ## Say what there is (this text)
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

setup: ## Make .venv from the lock; install missing system packages where permitted
	@PYTHON='$(PYTHON)' bash scripts/setup

parts: setup ## Install what the sandboxes oci and microvm need (root; podman, QEMU and others)
	@bash scripts/parts

train-setup: setup ## Make .venv-train with torch, TRL, verifiers and the like, on top of .venv (1.3 GB)
	@bash scripts/train-setup

weights: setup ## Fetch the embedded model, once
	@$(PY) -m offswitch.measure.models.weights >/dev/null || echo "The embedded model local/smollm2 could not be fetched (see above); everything else works." >&2

measure: setup $(if $(ARGS),,weights) ## Measure the embedded model and some model organisms; writes a report
	@$(PY) -m offswitch measure $(ARGS)

test: setup ## Run the tests, two at a time: most of their time they wait
	@$(PY) -m pytest -m "not slow" -n 2 --dist worksteal $(ARGS)

test-slow: setup ## Run the slow tests (minutes each), two at a time too
	@$(PY) -m pytest -m slow -n 2 --dist worksteal $(ARGS) || [ $$? -eq 5 ] # 5: no slow test was selected

bench: setup ## Run the benchmarks: JSON on stdout, a table on stderr
	@$(PY) benchmarks $(ARGS)

lint: setup ## ruff, mypy, import-linter: all of them, whatever the first says
	@bad=0; for check in "$(PY) -m ruff check --output-format=concise" "$(PY) -m ruff format --check" "$(PY) -m mypy" "$(BIN)/lint-imports"; do \
	  echo "$$check"; $$check || bad=1; done; exit $$bad

format: setup ## Format the code and repair what ruff can
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

lock: setup ## Resolve requirements.lock again (UPGRADE=1 takes newer versions)
	CUSTOM_COMPILE_COMMAND="make lock" $(PY) -m piptools compile --quiet $(if $(UPGRADE),--upgrade) \
	  --generate-hashes --allow-unsafe --strip-extras --annotation-style=line \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
	  --extra dev --extra hosted --extra local --extra prove --extra telemetry --output-file requirements.lock pyproject.toml

clean: ## Remove caches and build outputs
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## Remove .venv and .venv-train as well
	rm -rf .venv .venv-train
