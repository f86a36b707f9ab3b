PYTHON ?= python3
TOOLS := .tools
UV_VERSION := 0.13.9
export UV_SYSTEM_CERTS := true
export MELTANO_VERSION := 4.4.1
export UV := $(CURDIR)/$(TOOLS)/bin/uv
RUN := $(UV) run --frozen

.PHONY: help setup demo test test-long coverage lint workflows bench generate mutation audit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV):
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: $(UV) pyproject.toml uv.lock
	$(UV) sync --frozen --quiet --python $(PYTHON)
	@touch $@

setup: .venv/.ready ## Install everything for development

demo: setup ## Load calls from the bundled stand-in of the API into DuckDB, through Meltano
	@$(RUN) python scripts/demo.py

test: setup ## Run all tests
	$(RUN) pytest -n 2 --dist loadgroup

test-long: setup ## Run the tests with many more random cases
	SIMULATED_LIVES=2000 FUZZED_INPUTS=10000 FAULT_SEEDS=10 KILLS=50 $(RUN) pytest -n 2 --dist loadgroup --timeout 3000

coverage: setup ## Run the tests and measure what they cover, processes included
	rm -f .coverage*
	$(RUN) coverage run -m pytest -n 2 --dist loadgroup
	$(RUN) coverage combine --quiet
	$(RUN) coverage report --fail-under=95

lint: setup workflows ## Run all static checks
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) deptry tap_metrika_calls
	$(RUN) python scripts/generate.py --check

workflows: $(UV) ## Check the workflows
	$(UV) tool run --quiet zizmor==1.32.0 --offline --quiet .
	$(UV) tool run --quiet check-jsonschema==0.39.0 --builtin-schema vendor.github-workflows .github/workflows/*.yml

bench: setup ## Measure against a plain SDK tap
	$(RUN) python -m benchmarks

generate: setup ## Write the files that are made from --about
	$(RUN) python scripts/generate.py

mutation: setup ## Test the tests of the core by mutation
	$(RUN) --group mutation mutmut run
	$(RUN) --group mutation mutmut results

audit: setup ## Look for known vulnerabilities in the locked dependencies
	$(UV) export --frozen --no-emit-project --quiet --output-file $(TOOLS)/requirements.txt
	$(UV) tool run pip-audit --disable-pip --requirement $(TOOLS)/requirements.txt

clean: ## Remove what was installed and made
	rm -rf $(TOOLS) .venv .demo .meltano dist
