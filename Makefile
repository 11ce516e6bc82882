# Everything runs in .venv, which the first command makes. `make help` lists the commands.
PYTHON ?= python3
ENV := .venv
BIN := $(ENV)/bin
# The versions that were tried, for every package; what makes an environment of the newest ones leaves this empty.
CONSTRAINTS := constraints.txt
NEWEST := .run/newest
# A test waits half of the time: two files of tests at a time.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo up down test test-full check format newest constraints bench clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: $(ENV)/.installed-base ## walk one measurement through all six stages (one to two minutes)
	@$(BIN)/python -m tour

up: $(ENV)/.installed-base ## leave broker, server and workers running, and say how to talk to them
	@$(BIN)/python -m tour.up

down: ## end what `make up` has started
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m tour.down; fi

test: $(ENV)/.installed-test ## run the tests (a quarter of an hour)
	@$(BIN)/python -m tests.prepare
	@$(PYTEST) -m "not slow" --durations=25

test-full: $(ENV)/.installed-test ## run all tests, the long ones as well
	@$(BIN)/python -m tests.prepare
	@$(PYTEST)

check: $(ENV)/.installed-test ## check format, style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright --level error

format: $(ENV)/.installed-test ## format the code
	@$(BIN)/ruff check --fix-only --select I .
	@$(BIN)/ruff format .

newest: ## run the tests with the newest versions that pyproject.toml allows, in an environment of their own
	@rm -rf $(NEWEST)
	@$(MAKE) --no-print-directory test ENV=$(NEWEST) CONSTRAINTS=

constraints: .run/uv/bin/uv ## write the newest versions that pyproject.toml allows into constraints.txt
	@.run/uv/bin/uv pip compile --quiet --universal --upgrade --python-version 3.11 --extra test \
		--no-annotate --no-header --output-file constraints.txt pyproject.toml

bench: $(ENV)/.installed-bench ## measure what the READMEs claim
	@$(BIN)/python -m benchmarks.scoreboard

clean: down ## remove what the commands have made, .venv included
	rm -rf .venv .run models .pytest_cache .ruff_cache .hypothesis iris_results.sqlite3*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(ENV) \
		|| { echo "Cannot make $(ENV). On Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(ENV)/.installed-%: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "Installing into $(ENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) \
		$(if $(filter base,$*),.,'.[$*]')
	@touch $@

.run/uv/bin/uv:
	@$(PYTHON) -m venv .run/uv
	@.run/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
