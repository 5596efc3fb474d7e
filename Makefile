# Everything a newcomer needs. Each target installs what it uses; nothing but make and Python 3.11+
# must be there. `make test PYTHON=python3.13 DJANGO='django~=6.1.0'` takes another pair.

PYTHON ?= python3
VENV ?= .venv
DJANGO ?= django
JOBS ?= $(shell expr 2 '*' `nproc 2>/dev/null || echo 2`)
# The tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install

.PHONY: help demo test check format docs bench faults packages clean

help:
	@echo "make demo    the demo site on http://127.0.0.1:8000"
	@echo "make test    the whole test suite"
	@echo "make check   formatting, lint and types"
	@echo "make format  let ruff format and fix"
	@echo "make docs    the documentation, in docs/_build/html"
	@echo "make bench   the benchmarks"
	@echo "make faults  what becomes of tasks when processes are killed, and servers go away"
	@echo "make packages  other packages under this handler and Django's, compared"
	@echo "make clean   remove everything that make made"

comma := ,

# A stamp per set of packages: installed once, again only when pyproject.toml or DJANGO changes.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

define install
	$(PIP) --editable '.$(1)' '$(DJANGO)'
	@touch $@
endef

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(call install,[docs-ui$(comma)tasks])
$(VENV)/.celery: pyproject.toml | $(BIN)/python
	$(call install,[celery$(comma)docs-ui])
$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(call install,[dev])
$(VENV)/.servers: pyproject.toml | $(BIN)/python
	$(call install,[servers])
$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(call install,[docs])
$(VENV)/.packages: pyproject.toml | $(BIN)/python
	$(call install,[packages$(comma)pytest])
$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(call install,[bench])

demo: $(VENV)/$(if $(filter celery,$(DEMO_TASKS)),.celery,.demo)
	$(BIN)/python -m demo_site migrate --verbosity 0
	$(BIN)/python -m demo_site runserver 127.0.0.1:8000

# Most live tests wait for processes, so more tests than processors run at once. SERVERS=1 tests the
# application with other servers, too.
test: $(VENV)/.dev $(if $(SERVERS),$(VENV)/.servers)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.docs
	$(BIN)/sphinx-build --fail-on-warning --keep-going -b html docs docs/_build/html

# SUITE=served for requests per second beside WSGI and other frameworks; ARGS=--quick for less of it.
bench: $(VENV)/.bench
	$(BIN)/python -m tests.benchmarks $(if $(SUITE),--suite $(SUITE)) $(ARGS)

# ARGS="--fault kill --home sqlite" for a part of it.
faults: $(VENV)/.dev
	$(BIN)/python -m tests.faults $(ARGS)

# ARGS="--site silk sentry" for some of them. VENV=.venv-packages keeps them apart from all else.
packages: $(VENV)/.packages
	$(BIN)/python -m tests.packages $(ARGS)

clean:
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist docs/_build
	rm -rf demo_site/var
	find asyncviews demo_site tests -name __pycache__ -type d -prune -exec rm -rf {} +
