# What people do with this project. Everything needed is fetched into this folder: uv into .tools, environments into
# .venv (newest Python found) and .venv-3.11, Apache Kafka's jars into .cache. Bare `make` lists the targets.

UV ?= .tools/uv/bin/uv
FETCHED_UV := $(filter .tools/uv/bin/uv,$(UV))
PYTHON := .venv/bin/python
SOURCES := pyrallel_consumer tests $(wildcard benchmarks deploy examples docs)
CORE_TESTS := $(wildcard tests/unit tests/contract tests/simulation tests/fuzz)
DECIDES := pyrallel_consumer/control_plane pyrallel_consumer/ingress/reading
JOBS ?= auto
# Tests that mostly wait, each process with an embedded broker of its own; and with a real one: a JVM each. More of them
# than cores, so that no core waits.
WAITING_JOBS ?= 4
KAFKA_JOBS ?= 2
HELM := helm.sh/helm/v3/cmd/helm@v3.22.0
# All but ray, which is as large as all others and has an environment of its own.
EXTRAS := avro bench jsonschema otel protobuf reload uvloop
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock"

# The lock files and the Pythons found are all that counts: no configuration from elsewhere, no download of a Python.
export UV_NO_CONFIG := 1
export UV_PYTHON_DOWNLOADS := never
# Where this forbids compiled modules to be kept, each of the thousand processes that tests start compiles all it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help chaos demo docs pictures test test-core test-integration test-kafka test-documents test-deploy test-ray helm chart-schema test-3.11 test-nogil wheel-test coverage lint format kafka bench hot-spots simulate lock clean audit simulate-long mutants soak

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: .venv/.synced ## See it work on a broker of its own (ARGS="--messages 20000 --json")
	@.venv/bin/pyrallel-consumer demo $(ARGS)

docs: .venv/.synced ## Build the documents, with the reference made from the code, into build/docs
	@$(PYTHON) -m sphinx -W --keep-going --quiet --builder html docs build/docs
	@echo "Open build/docs/index.html"

pictures: .venv/.synced ## Take the documents' pictures from real runs (ARGS="demo" takes one; the page's need Chromium)
	@$(PYTHON) docs/pictures.py $(ARGS)

test: .venv/.synced ## Run every test; the built wheel is tested too
	@$(MAKE) --no-print-directory test-core
	@$(MAKE) --no-print-directory test-integration
	@$(MAKE) --no-print-directory test-documents
	@$(MAKE) --no-print-directory test-deploy
	@$(MAKE) --no-print-directory test-kafka
	@$(MAKE) --no-print-directory wheel-test

test-core: .venv/.synced ## Run unit, contract and simulation tests; what decides must be covered to the last branch
	$(PYTHON) -m pytest -n $(JOBS) $(DECIDES:%=--cov=%) --cov-fail-under=100 --cov-report=term-missing:skip-covered \
		$(CORE_TESTS)

test-integration: .venv/.synced ## Run the tests on the embedded broker
	$(PYTHON) -m pytest -n $(WAITING_JOBS) --dist loadgroup tests/integration tests/monitoring tests/typing

test-kafka: .venv/.synced ## Run the tests on a real Apache Kafka, schema registry and PostgreSQL, and two minutes of chaos
	$(PYTHON) -m pytest -n $(KAFKA_JOBS) --dist loadgroup tests/kafka tests/chaos tests/registry tests/postgres

test-documents: .venv/.synced ## Run every example, and every snippet of the documents
	$(PYTHON) -m pytest -n $(JOBS) tests/documents

test-deploy: .venv/.synced $(if $(shell command -v go),helm) ## Check the Helm chart, and build and run the image in a root folder
	$(PYTHON) -m pytest -n $(JOBS) --dist loadgroup tests/deploy

test-ray: .venv-ray/.synced ## Run the tests on a Ray cluster of this machine, in an environment of their own
	.venv-ray/bin/python -m pytest tests/ray

helm: .tools/helm/helm ## Build Helm, which is a Go module, into .tools

chart-schema: .venv/.synced ## Write the chart's values.schema.json from the settings classes
	@$(PYTHON) deploy/chart_schema.py

test-3.11: .venv/.synced ## Run unit, contract and simulation tests on Python 3.11, if one is found
	@if $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] > (3, 11))'; then \
		echo "The tests ran on Python 3.11 already."; \
	elif scripts/find-python 3.11 >/dev/null 2>&1; then \
		$(MAKE) --no-print-directory .venv-3.11/.synced && \
		echo "Once more, on Python 3.11:" && \
		.venv-3.11/bin/python -m pytest -n $(JOBS) $(CORE_TESTS); \
	else \
		echo "No Python 3.11 was found: the second run of unit, contract and simulation tests is left out."; \
	fi

test-nogil: ## Run unit, contract and simulation tests without the GIL, if a free-threaded Python is found
	@if scripts/find-python --nogil >/dev/null 2>&1; then \
		$(MAKE) --no-print-directory .venv-nogil/.synced && \
		PYTHON_GIL=0 .venv-nogil/bin/python -m pytest -n $(JOBS) $(CORE_TESTS); \
	else \
		echo "No free-threaded Python was found: the tests without the GIL are left out."; \
	fi

wheel-test: .venv/.synced ## Build the wheel and test it: unit, contract, some simulation; on Python 3.11 if one is found
	@scripts/test-wheel $(UV) "$$(scripts/find-python 3.11 2>/dev/null || scripts/find-python)" $(JOBS)

coverage: .venv/.synced ## Measure what unit tests cover of everything
	$(PYTHON) -m pytest -n $(JOBS) --cov --cov-report=term-missing:skip-covered tests/unit

lint: .venv/.synced ## Check format, lint, types and layers
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy $(SOURCES)
	@.venv/bin/lint-imports --no-logo

format: .venv/.synced ## Format, and fix what lint can fix by itself
	@.venv/bin/ruff check --fix-only .
	@.venv/bin/ruff format .

kafka: .venv/.synced ## Start a real Apache Kafka in the foreground; Ctrl-C stops it (ARGS="--port 9092")
	@$(PYTHON) -m tests.kafka_node $(ARGS)

bench: .venv/.synced ## Measure the library's overhead against the plain loop (ARGS="--kafka")
	@$(PYTHON) benchmarks/overhead.py $(ARGS)

hot-spots: .venv/.synced ## See where the time of a case of `make bench` goes (ARGS="many-lanes --kafka")
	@$(PYTHON) benchmarks/hot_spots.py $(or $(ARGS),noop)

simulate: .venv/.synced ## Run the control plane's simulator (SEED=7 replays one, SEEDS=1000 tries many)
	@$(PYTHON) -m tests.simulation $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

simulate-long: .venv/.synced ## Run 100,000 seeds of it on all cores (FROM=50000 SEEDS=100000 goes on where it was stopped)
	@$(PYTHON) -m tests.simulation.long_run $(if $(FROM),--from $(FROM)) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

mutants: .venv/.synced .venv-proof/.synced ## Change what decides in 800 places, one at a time, and see what tests notice (SEED=18)
	@.venv-proof/bin/python -m tests.mutation $(if $(SEED),--seed $(SEED)) $(ARGS)

soak: .venv/.synced ## Millions of messages through each engine on a real Kafka: does anything grow? (ARGS="--messages 1000000")
	@$(PYTHON) benchmarks/soak.py $(ARGS)

audit: .venv-proof/.synced ## Ask for known vulnerabilities of every version in the lock files (needs PyPI's JSON API or OSV)
	@.venv-proof/bin/python scripts/audit_lock.py $(ARGS)

chaos: .venv/.synced ## Break a real Kafka and its consumers at random (SEED=7 MINUTES=2 ENGINE=async PROTOCOL=auto BROKERS=1 OUTPUT=exactly_once)
	@$(PYTHON) -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) \
		$(if $(ENGINE),--engine $(ENGINE)) $(if $(PROTOCOL),--protocol $(PROTOCOL)) \
		$(if $(BROKERS),--brokers $(BROKERS)) $(if $(OUTPUT),--output $(OUTPUT)) $(ARGS)

lock: $(FETCHED_UV) ## Pin anew what pyproject.toml asks for, with hashes (ARGS="--upgrade")
	$(COMPILE) $(ARGS) --output-file requirements.txt pyproject.toml
	$(COMPILE) $(ARGS) $(EXTRAS:%=--extra %) --group dev --constraint requirements.txt --no-annotate \
		--output-file dev-requirements.txt pyproject.toml
	$(COMPILE) $(ARGS) --extra ray --group ray-tests --constraint dev-requirements.txt --no-annotate \
		--output-file ray-requirements.txt pyproject.toml
	$(COMPILE) $(ARGS) --group proof --constraint dev-requirements.txt --no-annotate \
		--output-file scripts/proof-requirements.txt pyproject.toml
	$(COMPILE) --no-annotate --output-file benchmarks/peers/aiokafka-requirements.txt \
		benchmarks/peers/aiokafka-requirements.in
	$(subst version 3.11,version 3.12,$(COMPILE)) --no-annotate --output-file benchmarks/peers/pypi-requirements.txt \
		benchmarks/peers/pypi-requirements.in

clean: ## Remove everything that was fetched or built here
	rm -rf .venv .venv-3.11 .venv-nogil .venv-proof .venv-ray .tools .cache .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache build dist htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- environments: made once, synchronised again when what they are made from changes

.tools/uv/bin/uv: scripts/uv-requirements.txt
	@echo "Fetching uv into .tools ..."
	@scripts/fetch-uv .tools/uv
	@touch $@

# Unoptimised: that takes two thirds of the time.
.tools/helm/helm:
	@echo "Building Helm into .tools ..."
	@mkdir -p .tools/helm && GOBIN="$(CURDIR)/.tools/helm" GOFLAGS=-buildvcs=false CGO_ENABLED=0 \
		go install -trimpath -gcflags 'all=-N -l -dwarf=false' -ldflags '-s -w' $(HELM)

.venv/.synced: dev-requirements.txt pyproject.toml | $(FETCHED_UV)
	@$(call synchronise,.venv,)

.venv-proof/.synced: scripts/proof-requirements.txt pyproject.toml | $(FETCHED_UV)
	@$(call synchronise,.venv-proof,,scripts/proof-requirements.txt)

.venv-3.11/.synced: dev-requirements.txt pyproject.toml | $(FETCHED_UV)
	@$(call synchronise,.venv-3.11,3.11)

# Ray has no wheel for the newest Python.
.venv-ray/.synced: ray-requirements.txt pyproject.toml | $(FETCHED_UV)
	@python=$$(for v in 3.13 3.12 3.11; do scripts/find-python $$v 2>/dev/null && break; done) && \
	echo "Preparing .venv-ray with $$python ..." && $(UV) venv --quiet --clear --python "$$python" .venv-ray && \
	scripts/shown $(UV) pip sync --compile-bytecode --python .venv-ray/bin/python --require-hashes ray-requirements.txt && \
	$(UV) pip install --quiet --python .venv-ray/bin/python --no-deps --no-build-isolation --no-index --editable . && \
	touch $@

# Not from the lock: some of its versions have no wheel for free-threaded builds, and any that has one will do.
.venv-nogil/.synced: pyproject.toml | $(FETCHED_UV)
	@python=$$(scripts/find-python --nogil) && echo "Preparing .venv-nogil with $$python ..." && \
	$(UV) venv --quiet --clear --python "$$python" .venv-nogil && \
	$(UV) pip install --quiet --python .venv-nogil/bin/python --only-binary :all: --requirements pyproject.toml \
		--group core-tests && \
	$(UV) pip install --quiet --python .venv-nogil/bin/python --no-deps --no-build-isolation --no-index --editable . && \
	touch $@

# The project itself is linked (editable), built by the pinned backend, so nothing beyond the lock file is fetched.
define synchronise
	python=$$(scripts/find-python $(2)) && echo "Preparing $(1) with $$python ..." && \
	{ [ -x $(1)/bin/python ] || $(UV) venv --quiet --clear --python "$$python" $(1); } && \
	scripts/shown $(UV) pip sync --python $(1)/bin/python --require-hashes $(or $(3),dev-requirements.txt) && \
	$(UV) pip install --quiet --python $(1)/bin/python --no-deps --no-build-isolation --no-index --editable . && \
	touch $@
endef
