.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest -n 2

# Where this is set, as in many images, each process compiles all of Beam again before it starts: for seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install demo shell unit test test-slow coverage check security audit infra-check images generate bench lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(STAMP) ## Set up .venv with every pinned dependency and the command rescore

# pip installs uv from the pinned hashes; uv installs the rest.
$(STAMP): requirements.txt setup.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/# via/p' requirements.txt > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
# Writes the bytecode of what commands import, on two cores: the first command starts as fast as the others.
	@$(BIN)/python -c 'import pipeline.cli, pipeline.config.options_help, pipeline.run' & \
	  $(BIN)/python -c 'import bqemulator.server, pipeline.local.demo, pipeline.local.gemini.__main__' >/dev/null; wait
	@touch $@

demo: install ## Rescore 200 generated accounts on a local stack, and print a report
	@$(BIN)/rescore demo

shell: install ## Open a shell in which the command rescore is found; exit ends it
	@echo "rescore --help lists the commands; exit leaves this shell" >&2
	@PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/$(VENV)" "$${SHELL:-bash}" || true

unit: install ## Run the unit tests: within a minute on two cores
	@$(PYTEST) --dist worksteal -m "not slow" tests/unit

test: install ## Run every test; those with random input draw the same each time, and few examples
	@$(PYTEST) -n 3 --dist loadfile --no-loadscope-reorder -m "not slow"  # three: many tests wait for a process

test-slow: install ## Run tests with random input on many new examples, and long ones; SEED=N draws those of an earlier run
	@$(PYTEST) --dist worksteal --timeout 1200 -m "hypothesis or seeded or slow" \
	  --hypothesis-profile slow $(if $(SEED),--hypothesis-seed $(SEED))

infra-check: install ## Check the infrastructure: Terraform's format, types and tests, checkov's rules
	@infrastructure/check.sh

coverage: install ## Run the tests of `make test`; fail if coverage is below 85 %
	@$(PYTEST) --dist loadfile --no-loadscope-reorder -m "not slow" --timeout 900 \
	  --cov --cov-report=term:skip-covered --cov-fail-under=85

check: install ## Check lint, format, types, the direction of imports, and security
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory security

security: install ## Scan the code and the workflows for weaknesses; validate GitHub's files
	@$(BIN)/bandit --quiet --recursive --configfile pyproject.toml schemas transforms pipeline infrastructure setup.py
	@$(BIN)/zizmor --quiet --offline .github
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml

audit: install ## Look for known vulnerabilities of the dependencies in a public database
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement infrastructure/flex_template/requirements.txt
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement requirements.txt

images: ## Build the Flex Template's images as archives in build/images (WORKER_USER=rescoring: see ADR 062); needs Docker's buildx
	@mkdir -p build/images
	@docker buildx inspect rescoring >/dev/null 2>&1 || docker buildx create --name rescoring >/dev/null
	@for target in launcher worker; do docker buildx build --builder rescoring --provenance=false --target $$target \
	  $(if $(WORKER_USER),--build-arg WORKER_USER=$(WORKER_USER)) \
	  --file infrastructure/flex_template/Dockerfile --output type=oci,dest=build/images/$$target.tar . || exit 1; done

generate: install ## Write generated files: schemas and template metadata for the infrastructure, job graph, bill, API
	@$(BIN)/python -m pipeline.resources.table_schemas infrastructure/schemas
	@$(BIN)/python -m pipeline.config.template_metadata infrastructure/flex_template/metadata.json
	@$(BIN)/python -m pipeline.job_graph docs/job-graph.md
	@$(BIN)/python -m tests.benchmarks.bill docs/sizing-and-cost.md
	@$(BIN)/python -m pipeline.api.openapi docs/api/openapi.yaml

bench: install ## Run the coder, parsing, redaction, injection, batching, token budget and scoring benchmarks
	@$(BIN)/python -m tests.benchmarks

lock: install ## Pin the newest allowed versions of the dependencies
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --custom-compile-command "make lock" --extra local --extra serve --extra evaluation --extra dev setup.py -o requirements.txt
	@$(BIN)/uv pip compile --quiet --python-version 3.11.9 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --constraint requirements.txt \
	  setup.py -o infrastructure/flex_template/requirements.txt

clean: ## Remove .venv, builds and caches
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
