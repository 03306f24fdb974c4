# make run      train, evaluate and report on the embedded lab
# make test     run the tests
# make setup    only install, with all that the tests need
# make check    format, lint, type-check
# make wheel    build the wheel, and run two steps of the lab from it in an environment of its own
# make docs     build the site of all pages, strictly, into build/site
# make bench-trl  install TRL, which benchmarks/throughput.py is measured against, into build/trl
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: run test setup check wheel docs bench-trl clean

run: $(STAMP)
	$(BIN)/alignpro run

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

setup: $(STAMP)

check: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check .
	$(BIN)/mypy

wheel: $(STAMP)
	.ci/wheel $(BIN)/python

docs: $(STAMP)
	$(BIN)/mkdocs build
	@echo "build/site/index.html"

bench-trl: build/trl/.installed

build/trl/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv build/trl
	build/trl/bin/python -m pip install --quiet --disable-pip-version-check torch -c constraints.txt
	build/trl/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . 'trl==1.16.*'
	@touch $@

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv build dist
