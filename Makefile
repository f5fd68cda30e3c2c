# PBS Cloud. `make help` lists what there is.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
export UV_PYTHON_DOWNLOADS := never
MEMBERS := proto libs services/gateway services/auth services/chunkstore services/gc services/billing apps/server

.DEFAULT_GOAL := help
.PHONY: help setup run test lint format typecheck proto lock bench fuzz clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: $(VENV)/.ready ## create the environment (done by the other targets when needed)

$(VENV)/.ready: requirements.lock pyproject.toml $(addsuffix /pyproject.toml,$(MEMBERS))
	@test -x $(UV) || { $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet --disable-pip-version-check uv; }
	@cp $(UV) $(VENV)/.uv && VIRTUAL_ENV=$(CURDIR)/$(VENV) $(VENV)/.uv pip sync --quiet --require-hashes requirements.lock && mv $(VENV)/.uv $(UV)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@touch $@

lock: $(VENV)/.ready ## resolve all dependencies again into requirements.lock
	@$(UV) lock --quiet
	@$(UV) export --quiet --frozen --all-packages --all-groups --no-emit-workspace --format requirements-txt --no-header -o requirements.lock
