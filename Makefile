# PBS Cloud. `make help` lists what there is.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
export UV_PYTHON_DOWNLOADS := never
MEMBERS := proto libs services/gateway services/auth services/chunkstore services/gc services/billing apps/cli apps/server
SOURCES := libs/src services apps proto/gen
PROTOS = $(shell find proto/pbs_cloud -name '*.proto')
# Packages that mypy checks, tests left out.
PACKAGES := formats contracts runtime auth chunkstore gc billing gateway cli server
# Tests run in this many processes.
JOBS ?= 3
# Inputs per decoder of `make fuzz`.
FUZZ_INPUTS ?= 1000000

.DEFAULT_GOAL := help
.PHONY: help setup run test conformance soak lint format typecheck proto lock bench bench-gc fuzz clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: $(VENV)/.ready ## create the environment (done by the other targets when needed)

# uv is not in the lock: it is set aside while the environment is made to match it exactly.
$(VENV)/.ready: requirements.lock pyproject.toml $(addsuffix /pyproject.toml,$(MEMBERS))
	@test -x $(UV) || { $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet --disable-pip-version-check uv; }
	@cp $(UV) $(VENV)/.uv && VIRTUAL_ENV=$(CURDIR)/$(VENV) $(VENV)/.uv pip sync --quiet --compile-bytecode --require-hashes requirements.lock && mv $(VENV)/.uv $(UV)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@touch $@

run: setup ## start the whole product on this machine (Ctrl-C stops it)
	@$(BIN)/python -m compileall -q $(SOURCES)
	@exec $(BIN)/pbs-cloud up --with-parent

test: setup ## run all tests against real Postgres, NATS and SeaweedFS
	@$(BIN)/python -m compileall -q $(SOURCES)
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadgroup $(ARGS)

conformance: setup ## all recordings and REST cases on local and S3 storage, each with one gateway worker and with four
	for workers in 1 4; do \
	  $(BIN)/python -m pytest -q -n 2 tests/e2e/test_conformance.py --dist loadgroup --workers $$workers --workers-on-s3 $$workers $(ARGS) || exit 1; \
	done

soak: setup ## run what must never fail until it is stopped (SECONDS=n ends it, PARTS=… names parts)
	@cd tests && PYTHONPATH=. exec ../$(BIN)/python -m soak $(PARTS) $(if $(filter command line environment,$(origin SECONDS)),--seconds $(SECONDS)) $(ARGS)

lint: setup ## ruff, import layers, generated code as committed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	@fresh=$$(mktemp -d) && trap 'rm -rf $$fresh' EXIT && $(MAKE) --no-print-directory proto GEN=$$fresh && \
	  diff -r -q -x __pycache__ -x py.typed $$fresh proto/gen || { echo 'proto/gen is not what the .proto files say: make proto'; exit 1; }

format: setup ## format the code
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

typecheck: setup ## mypy --strict
	$(BIN)/mypy $(addprefix -p pbs_cloud.,$(PACKAGES))

GEN ?= proto/gen
proto: setup ## generate proto/gen from the .proto files
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I proto --python_out=$(GEN) --grpc_python_out=$(GEN) \
	  --pyi_out=$(GEN) --mypy_grpc_out=quiet:$(GEN) $(PROTOS)

lock: $(VENV)/.ready ## resolve all dependencies again into requirements.lock
	@$(UV) lock --quiet
	@$(UV) export --quiet --frozen --all-packages --all-groups --no-emit-workspace --format requirements-txt --no-header -o requirements.lock

bench: setup ## measure throughput and CPU of the running product (docs/benchmarks.md)
	$(BIN)/python -m benchmarks $(ARGS)

bench-gc: setup ## measure garbage collection over a synthetic catalogue (docs/benchmarks.md)
	$(BIN)/python -m benchmarks.gc $(ARGS)

fuzz: setup ## feed every decoder with $(FUZZ_INPUTS) inputs
	$(BIN)/python libs/tests/formats/fuzz/run.py --runs $(FUZZ_INPUTS) $(ARGS)

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
