# `make install` makes .venv; every other target makes it first if need be, and is quick about it if not.

PYTHON ?= python3
# Processes that pytest runs in. `make test WORKERS=0` runs in one, for a debugger.
WORKERS ?= 2
# Arguments for pytest, as in `make test TESTS="tests/data -k split"`.
TESTS ?=
# Where the demonstration saves its run.
DEMO_RUN ?= runs/demo
# What `make bench` runs, in this order.
BENCHMARKS ?= $(wildcard benchmarks/epoch.py benchmarks/vocabulary.py benchmarks/whole_job.py benchmarks/index.py benchmarks/quality.py benchmarks/solved.py benchmarks/notebook_faults.py benchmarks/ranking.py benchmarks/ranking_speed.py benchmarks/resume.py benchmarks/fold_in.py benchmarks/softmax.py benchmarks/serving.py benchmarks/bundle_fuzz.py)

BIN := .venv/bin
STAMP := .venv/.installed
# Pins the build backend too, which pip installs elsewhere: older versions of pip read the first, newer the second.
PINNED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo serve test lint format docs notebook bench clean

help: ## show this
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(STAMP) ## make .venv with all that the demo, the tests and the benchmarks need

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PINNED) $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

demo: $(STAMP) ## train on the packaged real data, compare with the baselines, recommend ten videos
	$(BIN)/twotower demo --out $(DEMO_RUN)

serve: $(STAMP) ## serve the demonstration's run, with a page at http://127.0.0.1:8000/
	test -f $(DEMO_RUN)/metrics.json || $(BIN)/twotower demo --out $(DEMO_RUN)
	$(BIN)/twotower serve $(DEMO_RUN)

test: lint ## lint, type-check, check the import layers, and run all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

lint: $(STAMP) ## only lint, type-check, and check the import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## build the documentation into site/, strictly: every link and anchor must lead somewhere
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

notebook: $(STAMP) ## run examples/kuairec.ipynb and store what its cells give
	$(BIN)/python examples/run_notebook.py

bench: $(STAMP) ## measure speed and quality (minutes; leave the machine otherwise idle)
	@for benchmark in $(BENCHMARKS); do echo "== $$benchmark"; $(BIN)/python $$benchmark || exit 1; done

clean: ## remove what was built or cached; .venv, runs and data stay
	rm -rf build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
