# Everything a person needs: `make demo`, `make test`, `make up`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
INSTALLED := $(VENV)/.installed
TEST_PACKAGES := $(VENV)/.test-packages
PYTEST_ARGS ?=
# Several processes, as many as tests/sharing.py finds right; PYTEST_ARGS=-n0 takes one.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile
IMAGE := openreg_airflow/transform/image
BENCHMARK_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo up down test test-unit test-integration test-e2e lint types format \
	schema lock dist clean benchmark-artifacts benchmark-dag-parse benchmark-deliver benchmark-extract \
	benchmark-mappings benchmark-sandbox benchmark-validate

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' Makefile

install: $(INSTALLED) ## Set up .venv with pinned and hashed dependencies

$(INSTALLED): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with PYTHON=..." >&2; exit 1; }
	@tools/debian-packages
	@echo "Installing into $(VENV): about two minutes the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# What is compiled (the MySQL driver) is built by a hashed setuptools too.
	@sed -n '/^setuptools==/,/[^\\]$$/p' constraints.txt > $(VENV)/setuptools.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r $(VENV)/setuptools.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--no-build-isolation -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --editable .
	@touch $@

$(TEST_PACKAGES): tools/debian-packages $(INSTALLED)
	@tools/debian-packages tests
	@touch $@

demo: install ## Run the example reports end to end, from an empty Airflow to an inbox
	@$(BIN)/openreg demo

up: install ## Start Airflow with the example reports on 127.0.0.1 (PORT=8080)
	@$(BIN)/openreg up --port $(PORT)

down: install ## Stop what `make up` started
	@$(BIN)/openreg down

test: install $(TEST_PACKAGES) ## Run all tests, with real services
	$(PYTEST) $(PYTEST_ARGS) tests/unit tests/integration tests/e2e

test-unit: install ## Run the tests that need nothing but Python
	$(PYTEST) $(PYTEST_ARGS) tests/unit

test-integration: install $(TEST_PACKAGES) ## Run the tests against real services
	$(PYTEST) $(PYTEST_ARGS) tests/integration

test-e2e: install $(TEST_PACKAGES) ## Run the tests through a real Airflow and a real browser
	$(PYTEST) $(PYTEST_ARGS) tests/e2e

lint: install ## Check formatting, style, and that generated files are current
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/openreg check
	$(BIN)/openreg schema | diff - dag_factory/report.schema.json

types: install ## Check types
	$(BIN)/mypy

format: install ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schema: install ## Write the JSON Schema of report.yaml anew
	$(BIN)/openreg schema > dag_factory/report.schema.json.new
	@mv dag_factory/report.schema.json.new dag_factory/report.schema.json

lock: ## Resolve the dependencies anew, the sandbox image's too (needs uv on the PATH)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --upgrade --quiet --custom-compile-command "make lock" \
		--output-file constraints.txt
	for file in requirements installer; do \
		uv pip compile $(IMAGE)/$$file.in --universal --python-version 3.11 \
			--generate-hashes --only-binary :all: --no-annotate --constraint constraints.txt \
			--quiet --custom-compile-command "make lock" --output-file $(IMAGE)/$$file.txt; \
	done

benchmark-artifacts: install ## Measure writing files beside lxml, pandas and json
	@$(BIN)/python -m benchmarks.artifacts $(BENCHMARK_ARGS)

benchmark-dag-parse: install ## Measure Dag parsing beside dag-factory
	@test -d .benchmarks/dag-factory || $(BIN)/python -m pip install --quiet --no-deps \
		--require-hashes --target .benchmarks/dag-factory -r benchmarks/dag-factory.txt
	@$(BIN)/python -m benchmarks.dag_parse $(BENCHMARK_ARGS)

benchmark-deliver: install ## Measure deliveries beside the providers' hooks, OpenSSH and curl
	@$(BIN)/python -m benchmarks.deliver $(BENCHMARK_ARGS)

benchmark-extract: install $(TEST_PACKAGES) ## Measure reading databases beside the providers' hooks
	@$(BIN)/python -m benchmarks.extract $(BENCHMARK_ARGS)

benchmark-mappings: install ## Measure look-ups in mapping sets beside DuckDB, pandas and a dict
	@$(BIN)/python -m benchmarks.mappings $(BENCHMARK_ARGS)

benchmark-sandbox: install ## Measure the sandbox beside plain pandas; needs a Docker engine and the image
	@$(BIN)/python -m benchmarks.sandbox $(BENCHMARK_ARGS)

benchmark-validate: install ## Measure rules beside pandera and great-expectations
	@test -d .benchmarks/validation || $(BIN)/python -m pip install --quiet --require-hashes \
		--only-binary :all: --target .benchmarks/validation -r benchmarks/validation.txt
	@$(BIN)/python -m benchmarks.validate $(BENCHMARK_ARGS)

dist: install ## Build wheel and sdist
	$(BIN)/python -m build --no-isolation

clean: ## Stop what runs and remove everything that was made
	@if [ -x $(BIN)/openreg ]; then $(BIN)/openreg down; fi
	rm -rf .demo .benchmarks $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
