# Each target sets up what it needs, from a bare clone: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all check docs bench clean

demo: .venv/demo  ## match the example pair, or your own: make demo A=first.jpg B=second.jpg
	$(BIN)/homolog demo $(A) $(B)

test: .venv/test  ## the tests, within 15 minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: .venv/test  ## the slow ones, too
	$(BIN)/python -m pytest -n 2 --dist loadfile -m ""

check: .venv/test  ## style, types and the order of packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/docs  ## the documentation, into site/
	$(BIN)/zensical build --clean --strict

bench: .venv/test  ## the tables of docs/explanation/benchmarks.md
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/accuracy.py

clean:
	rm -rf .venv site dist

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "homolog needs Python 3.11 or later, try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/test .venv/docs: .venv/%: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$*]'
	@touch $@
