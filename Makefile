# make run: set up and run the embedded example.   make test: set up and pass the tests.
PYTHON ?= python3
VENV ?= .venv
CORES ?= 2
UV := $(shell command -v uv 2>/dev/null)
BIN := $(VENV)/bin

.PHONY: help setup run report test test-clients lint format lock clean

help:
	@echo "make run     set up and run the embedded example (results/)"
	@echo "make report  HTML report of the last run (results/report.html)"
	@echo "make test    set up and run the tests"
	@echo "make setup   only set up the environment in $(VENV)"
	@echo "make test-clients  check the files for model fitting with BluePyEModel itself"
	@echo "make lint    ruff, mypy, snakefmt, snakemake --lint"
	@echo "make lock    resolve the dependencies anew (needs uv)"

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else "ephysflow needs Python 3.11 or newer; $(PYTHON) is %d.%d. Try: make PYTHON=python3.12 run" % v)'
ifdef UV
	uv venv -q --allow-existing --python $(PYTHON) $(VENV)
	uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	uv pip install -q --compile-bytecode --python $(BIN)/python --no-deps -e .
else
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
endif
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.lock
ifdef UV
	uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements-dev.lock
else
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
endif
	@touch $@

run: $(VENV)/.ready
	@$(BIN)/snakemake --cores $(CORES) --quiet rules host reason
	@$(BIN)/ephysflow show results

report: $(VENV)/.ready
	@$(BIN)/snakemake --report results/report.html

# Passed tests are remembered until a file of the repository changes; `make -B test` runs them all the same.
test: $(VENV)/.tested
	@echo "All tests passed and nothing changed since."

$(VENV)/.tested: $(VENV)/.ready-dev $(wildcard $(shell git ls-files --cached --others --exclude-standard))
	$(BIN)/python -m pytest -n $(CORES)
	@touch $@

# What real clients of our files accept; they need an environment of their own (86 packages, NEURON among them).
CLIENTS ?= .venv-clients
test-clients: $(VENV)/.ready-dev $(CLIENTS)/.ready
	EPHYSFLOW_BLUEPYEMODEL_PYTHON=$(CLIENTS)/bin/python $(BIN)/python -m pytest -q tests/reference/test_bluepyemodel.py

$(CLIENTS)/.ready:
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install -q --disable-pip-version-check bluepyemodel==1.0.50
	@touch $@

lint: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

format: $(VENV)/.ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile workflow/rules

# One resolution for all supported Pythons; the second file extends the first.
lock:
	uv pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url \
		--no-header pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url \
		--no-header --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf results example_data .snakemake
