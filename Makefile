# Everything runs in .venv, which the first command makes. `make help` lists the commands.
PYTHON ?= python3
BIN := .venv/bin
# A test waits half of the time: two files of tests at a time.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo up down test test-full check bench clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: .venv/.installed-base ## walk one measurement through all six stages (2 minutes)
	@$(BIN)/python -m tour

up: .venv/.installed-base ## leave broker, server and workers running, and say how to talk to them
	@$(BIN)/python -m tour.up

down: ## end what `make up` has started
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m tour.down; fi

test: .venv/.installed-test ## run the tests (a quarter of an hour)
	@$(BIN)/python -m tests.prepare
	@$(PYTEST) -m "not slow" --durations=25

test-full: .venv/.installed-test ## run all tests, the long ones as well
	@$(BIN)/python -m tests.prepare
	@$(PYTEST)

check: .venv/.installed-test ## format, lint and check types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright --level error

bench: .venv/.installed-bench ## measure what the READMEs claim
	@$(BIN)/python -m benchmarks.scoreboard

clean: down ## remove what the commands have made, .venv included
	rm -rf .venv .run models .pytest_cache .ruff_cache .hypothesis iris_results.sqlite3*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv .venv \
		|| { echo "Cannot make .venv. On Debian and Ubuntu: apt install python3-venv"; exit 1; }

.venv/.installed-%: pyproject.toml | .venv/bin/python
	@echo "Installing into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(filter base,$*),.,'.[$*]')
	@touch $@
