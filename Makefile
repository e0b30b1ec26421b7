# make setup | demo | test | soak | check | bench | clean

NEWEST = $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PYTHON ?= $(or $(NEWEST),python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test soak check bench clean

setup: $(STAMP)

# jvm is installed even where Java is, since a test starts Spark without one; Delta's jars come with the first session.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "fs_spark needs Python 3.11 or newer, and '$(PYTHON)' is not. Hint: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "no virtual environment could be made. Hint: install python3-venv (Debian, Ubuntu)" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[connect,dev,docs,jvm,lineage,ml,mlflow,plot,redis,serve]'
	@touch $@

demo: setup
	$(BIN)/fs-spark demo

# Two processes, each with a session of its own; the slowest ten are named.
test: setup
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder --durations 10

# Every verb killed at every write, every pair of verbs at once; goes on where it was cut. SOAK="--minutes 30 killed"
soak: setup
	$(BIN)/python -m pytest -m soak
	$(BIN)/python -m tests.soak.run $(SOAK)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python tests/perf/run.py all

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis spark-warehouse metastore_db derby.log
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
