UV := .bootstrap/bin/uv
PYTHON ?= python3
ARGS ?=
PROTOCOL ?= demo
MODEL ?= avatars
EXPERIMENTS ?=
METHODS ?=
JOBS ?= 1
WORKERS ?= 2
MINUTES ?= 30
SEED ?= 0
METHOD ?= focused
.DEFAULT_GOAL := help
TORCH ?=
# Byte code is made once here, and not at the first start, or at every start where Python is told to write none.
INSTALL = $(UV) pip install --quiet --compile-bytecode --python .venv --constraint requirements.lock
.PHONY: help install dev run test test-slow campaign lint types house lock reproduce-tables

help: ## show these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' Makefile

install: .venv/.installed ## make .venv from the locked requirements (needs Python >= 3.11 and pip only); TORCH=cpu: about 1.7 instead of 6.1 GB

dev: .venv/.dev ## the same, and what tests, lint and types need

$(UV):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .bootstrap
	.bootstrap/bin/pip install --quiet uv

.venv/.installed: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(if $(TORCH),$(INSTALL) --torch-backend $(TORCH) --no-verify-hashes --no-deps torch torchvision)
	$(INSTALL) -e '.[avatars,sweep]'
	@touch $@

.venv/.dev: .venv/.installed
	$(INSTALL) -e '.[avatars,sweep,dev]'
	@touch $@

run: install ## the gender experiment on the embedded model, 11 to 13 minutes on 2 CPU cores (METHOD=lwim, ARGS="protocol=smoke", …)
	.venv/bin/hspace-exp run experiment=gender_fairness method=$(METHOD) $(ARGS)

test: dev ## the default tests, in WORKERS=2 processes
	.venv/bin/python -m pytest -q -n $(WORKERS) --dist worksteal $(ARGS)

test-slow: dev ## the tests that take minutes
	.venv/bin/python -m pytest -q -m slow $(ARGS)

campaign: dev ## malformed inputs, damaged files and kills for MINUTES=30: a table, and 1 where one went wrong (SEED=0, docs/reliability.md)
	.venv/bin/python -m tests.campaign --minutes $(MINUTES) --seed $(SEED) --workers $(WORKERS) $(ARGS)

lint: dev ## ruff
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: dev ## mypy
	.venv/bin/mypy

house: ## size and order of the package, against their bounds
	$(PYTHON) benchmarks/house.py

lock: $(UV) ## make requirements.lock again from pyproject.toml, without the address of any index
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra avatars --extra studio --extra sweep --extra optuna --extra dev \
		--no-emit-index-url --no-header pyproject.toml -o requirements.lock

reproduce-tables: install ## runs, tables and figures; PROTOCOL=smoke|demo|full|paper MODEL= EXPERIMENTS= METHODS= JOBS=
	.venv/bin/hspace-exp reproduce --protocol "$(PROTOCOL)" --model "$(MODEL)" --experiments "$(EXPERIMENTS)" \
		--methods "$(METHODS)" --jobs "$(JOBS)" $(ARGS)
