# `make install` creates .venv; other targets create it first if it is missing.

PYTHON ?= python3
# Number of pytest processes. `make test WORKERS=0` uses one, for a debugger.
WORKERS ?= 2
# Arguments for pytest, for example `make test TESTS="tests/data -k split"`.
TESTS ?=
# Directory of the demo run.
DEMO_RUN ?= runs/demo
# Benchmarks that `make bench` runs, in this order.
BENCHMARKS ?= $(wildcard benchmarks/epoch.py benchmarks/vocabulary.py benchmarks/whole_job.py benchmarks/index.py benchmarks/quality.py benchmarks/solved.py benchmarks/notebook_faults.py benchmarks/ranking.py benchmarks/ranking_speed.py benchmarks/resume.py benchmarks/fold_in.py benchmarks/softmax.py benchmarks/serving.py benchmarks/bundle_fuzz.py)

BIN := .venv/bin
STAMP := .venv/.installed
# Also pins the build backend, which pip installs in isolation: older versions of pip read the first, newer the second.
PINNED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo serve test kernels lint format docs notebook bench sbom clean

help: ## show this help
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(STAMP) ## create .venv with everything for the demo, the tests and the benchmarks

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PINNED) $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

demo: $(STAMP) ## train on the packaged real data, compare with baselines, recommend ten videos
	$(BIN)/twotower demo --out $(DEMO_RUN)

serve: $(STAMP) ## serve the demo run, with a page at http://127.0.0.1:8000/
	test -f $(DEMO_RUN)/metrics.json || $(BIN)/twotower demo --out $(DEMO_RUN)
	$(BIN)/twotower serve $(DEMO_RUN)

test: $(STAMP) ## lint, type-check, check import layers and run all tests
	$(MAKE) --no-print-directory --jobs=2 lint kernels
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

# Compiled once, and not in each process of pytest; beside the checks of `lint`, which need one core.
kernels: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tests/compile_kernels.py

lint: $(STAMP) ## only lint, type-check and check import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## format, and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## build the documentation in site/; broken links are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

notebook: $(STAMP) ## run the notebooks of examples/ and store their outputs
	$(BIN)/python examples/run_notebook.py

sbom: ## list a server's packages in build/sbom.cdx.json (CycloneDX)
	$(PYTHON) -m venv --clear build/installed
	$(PINNED) build/installed/bin/python -m pip install --quiet -c constraints.txt ".[serve,redis,ann,ranker]"
	$(PYTHON) -m venv --clear build/cyclonedx
	build/cyclonedx/bin/python -m pip install --quiet cyclonedx-bom==7.5.0
	build/cyclonedx/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.cdx.json build/installed/bin/python

bench: $(STAMP) ## run the benchmarks (minutes; on an otherwise idle machine)
	@for benchmark in $(BENCHMARKS); do echo "== $$benchmark"; $(BIN)/python $$benchmark || exit 1; done

clean: ## remove build outputs and caches; keeps .venv, runs and data
	rm -rf build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
