# Needs Python 3.11 or newer and make, nothing else: no root, no Docker.
# PYTHON=… chooses the interpreter that makes the environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV := VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv --quiet
INSTALLED := $(VENV)/.installed
# Another version of a package that the environment has, for a test with both.
OLDER := $(VENV)/older-client
ALONE := --upgrade --no-deps --require-hashes -r requirements/older-client.lock
COMPILE := $(UV) pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help ingest run test chaos security bench lint format openapi lock clean setup

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

ingest: $(INSTALLED) ## Ingest URL= (FOLDER=, FILENAME=), or a sample without it, and print the File
	@set --; \
	if [ -n "$$URL" ]; then set -- "$$@" "$$URL"; fi; \
	if [ -n "$$FOLDER" ]; then set -- "$$@" --folder "$$FOLDER"; fi; \
	if [ -n "$$FILENAME" ]; then set -- "$$@" --filename "$$FILENAME"; fi; \
	exec $(BIN)/headrace ingest "$$@"

run: $(INSTALLED) ## Start the whole service and stay; Ctrl-C stops it
	@$(BIN)/headrace up

# Chaos by itself: it counts on what it breaks to be all that is broken.
test: $(INSTALLED) ## Run every test, on real servers; what needs none goes first
	@$(BIN)/python -m pytest tests/unit tests/support --numprocesses 2
	@$(BIN)/python -m pytest tests/chaos
	@$(BIN)/python -m pytest --ignore tests/unit --ignore tests/support --ignore tests/chaos \
		--numprocesses 2 --dist loadfile --no-loadscope-reorder

chaos: $(INSTALLED) ## Break everything on purpose and print what held (42 min)
	@$(BIN)/python -m pytest tests/chaos --chaos-full

security: $(INSTALLED) ## Attack everything and print what held (5 min)
	@$(BIN)/python -m pytest -m security --security-full

bench: $(INSTALLED) ## Measure beside rclone and others, and print a table (22 min)
	@exec $(BIN)/python -m bench $${ONLY:+--only "$$ONLY"} $${ROUNDS:+--rounds "$$ROUNDS"} \
		$${JSON:+--json "$$JSON"}

lint: $(INSTALLED) ## Check format, style, types and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code and mend what ruff can
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

openapi: $(INSTALLED) ## Write docs/openapi.json anew
	@$(BIN)/python -m api.specification >docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json

lock: $(INSTALLED) ## Write requirements/*.lock anew, keeping versions that still fit
	@$(COMPILE) pyproject.toml --extra ffmpeg -o requirements/production.lock
	@$(COMPILE) pyproject.toml --all-extras -c requirements/production.lock \
		-o requirements/development.lock
	@$(COMPILE) requirements/bootstrap.in -c requirements/development.lock \
		-o requirements/bootstrap.lock
	@$(COMPILE) --no-deps requirements/older-client.in -o requirements/older-client.lock

setup: $(INSTALLED) ## Make the environment in .venv, if it is not there or out of date

clean: ## Remove .venv and caches; the data in .headrace stays
	@if $(BIN)/headrace status >/dev/null 2>&1; then \
		echo "The stack is running. Stop it first: $(BIN)/headrace down" >&2; exit 1; \
	fi
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	@find . -name __pycache__ -type d -not -path './.headrace/*' -prune -exec rm -rf {} +

# uv installs in seconds; where it has no wheel or fails, pip does the same from the same lock.
# Compiled at once, or the first start of every process would compile some thousand modules.
$(INSTALLED): pyproject.toml requirements/bootstrap.lock requirements/development.lock \
		requirements/older-client.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Headrace needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Choose another: make PYTHON=python3.12" % v[:2])'
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing what requirements/development.lock names into $(VENV) …" >&2
	@{ $(PIP) install --require-hashes -r requirements/bootstrap.lock \
		&& $(UV) pip sync --compile-bytecode --require-hashes requirements/development.lock \
		&& $(UV) pip install --no-deps --no-build-isolation -e . \
		&& $(UV) pip install --target $(OLDER) $(ALONE); } \
	|| { echo "uv did not do it; once more with pip, which takes longer." >&2 \
		&& $(PIP) install --require-hashes -r requirements/development.lock \
		&& $(PIP) install --no-deps --no-build-isolation -e . \
		&& $(PIP) install --target $(OLDER) $(ALONE); }
	@touch $@
