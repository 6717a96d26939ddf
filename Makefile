# make run     registry, primary, secondary here   ARGS="--port 5555 --kill-primary-after 20" is passed through
# make test    unit, simulation, integration
# make check   format, lint, types, import contracts, documentation, coverage of the pure modules
# make docs    the documentation as pages to read  docs/_build/html/index.html
# make bench   node and pair beside Redis, NATS    ARGS="--rounds 3 --plot docs/performance.svg"
# make failover  how long a killed leader is felt  ARGS="--runs 5 --static --jetstream --json failover.json"
# make readers one delivery node of the news, and 20,000 readers             ARGS="--readers 2000 --send-rate 2000000"
# make abuse   what others notice of idle crowds, floods, slow-loris   ARGS="--pair --rounds 5 --json abuse.json"
# make newstree  how late an item is after 15 nodes, simulated  ARGS="--minutes 60 --svg docs/news-tree.svg"

PYTHON ?= python3
JOBS ?= $(shell nproc)
# Of the tests that start processes of their own, and mostly wait for them.
PROCESSES ?= 3
VENV := .venv
BIN := $(VENV)/bin
NEEDS := setup.py pyproject.toml constraints.txt
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

SPHINX := $(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going

.PHONY: run test unit integration check lint types contracts docs coverage fix bench replay failover abuse newstree readers clean
.DELETE_ON_ERROR:

run: $(VENV)/.for-run
	@exec $(BIN)/chatproto demo $(ARGS)

test: unit integration

unit: $(VENV)/.for-development
	$(BIN)/python -m twisted.trial --jobs $(JOBS) tests.unit tests.simulation

# They are about real seconds. What fails beside others is tried once more, alone; what fails alone fails.
integration: $(VENV)/.for-development
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile tests/integration || \
		$(BIN)/python -m pytest --last-failed --last-failed-no-failures none tests/integration

# Beside each other, for none of them uses all processors.
check: $(VENV)/.for-development
	@$(MAKE) --no-print-directory --jobs $(JOBS) --output-sync lint types contracts docs coverage

lint: $(VENV)/.for-development
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.for-development
	$(BIN)/mypy

contracts: $(VENV)/.for-development
	$(BIN)/lint-imports

# Anew each time, for a warning is given only once; it takes seconds.
docs: $(VENV)/.for-development
	$(SPHINX) --fresh-env docs docs/_build/html

# 100 % of the branches of the pure modules (pyproject.toml lists them), from the unit tests alone.
coverage: $(VENV)/.for-development
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m twisted.trial --jobs $(JOBS) tests.unit
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

fix: $(VENV)/.for-development
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.for-bench
	$(BIN)/python -m tests.bench.sidebyside $(ARGS)

replay: $(VENV)/.for-bench
	$(BIN)/python -m tests.bench.replay $(ARGS)

failover: $(VENV)/.for-bench
	$(BIN)/python -m tests.bench.failover $(ARGS)

# The certificate of its TLS port is made by what tests use.
abuse: $(VENV)/.for-development
	$(BIN)/python -m tests.bench.abuse $(ARGS)

readers: $(VENV)/.for-development
	$(BIN)/python -m tests.bench.readers $(ARGS)

newstree: $(VENV)/.for-development
	$(BIN)/python -m tests.bench.newstree $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .coverage htmlcov .hypothesis
	rm -rf docs/_build .import_linter_cache .mypy_cache .pytest_cache .ruff_cache tests/bench/fanbench/build
	rm -f twisted/plugins/dropin.cache twistd.pid
	find chatproto examples tests twisted -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A half-made environment is worse than none: it would be taken for a whole one next time.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "chatproto needs Python 3.11 or newer; say which with: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null || \
		{ rm -rf $(VENV); echo "No virtual environment could be made; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.for-run: $(NEEDS) | $(BIN)/python
	$(PIP_INSTALL) --editable '.[terminal,metrics]'
	@touch $@

$(VENV)/.for-development: $(NEEDS) | $(BIN)/python
	$(PIP_INSTALL) --editable '.[terminal,metrics,docs,test,check]'
	@touch $@

$(VENV)/.for-bench: $(NEEDS) | $(BIN)/python
	$(PIP_INSTALL) --editable '.[bench]'
	@touch $@
