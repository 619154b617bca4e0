.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test check infra-check generate bench lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP) ## Set up .venv with every pinned dependency and the command rescore

# uv comes from the same hash-checked pins as all else, and then installs the rest.
$(STAMP): requirements.txt setup.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/# via/p' requirements.txt > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## Rescore 200 generated accounts on a local stack and report
	@$(BIN)/rescore demo

test: install ## Run every test
	@$(BIN)/python -m pytest -n 2 --dist loadfile

infra-check: install ## Check the infrastructure: Terraform's format, types and tests, checkov's rules
	@infrastructure/check.sh

check: install ## Lint, check types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

generate: install ## Write what follows from the code: schemas and metadata for the infrastructure, the job graph
	@$(BIN)/python -m pipeline.table_schemas infrastructure/schemas
	@$(BIN)/python -m pipeline.template_metadata infrastructure/flex_template/metadata.json
	@$(BIN)/python -m pipeline.job_graph docs/job-graph.md

bench: install ## Measure what docs/benchmarks.md reports
	@$(BIN)/python -m tests.benchmarks

lock: install ## Pin the dependencies anew
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make lock" --extra local --extra evaluation --extra dev setup.py -o requirements.txt
	@$(BIN)/uv pip compile --quiet --python-version 3.11.9 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --constraint requirements.txt \
	  setup.py -o infrastructure/flex_template/requirements.txt

clean: ## Remove .venv, builds and caches
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks .coverage*
