# Everything a newcomer needs: `make demo`. `make help` lists the rest.
# Needs python 3.11 or 3.12 (with its venv module), git and make; no compiler, no nvcc.

# The package index that torch alone comes from; empty means the usual one.
# CPU only: make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
VENV ?= .venv
DATA ?=
AREA ?=
RUN ?= runs/demo
PORT ?= 8000

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check
# Every process of a Ray cluster imports the same large libraries. Their bytecode is written once, by one process at the
# end of set-up, whatever the environment says; without it each worker compiles them anew, for half a minute of a core.
export PYTHONDONTWRITEBYTECODE =
WARM := protein2text.train.run, protein2text.train.loop, protein2text.evaluate.run, protein2text.registry_agent, \
  protein2text.demo_plans, protein2text_serve.run, matplotlib.pyplot

TORCH := torch==$(shell sed -n 's/^torch==//p' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-real named-data serve test test-slow check bench clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

setup: $(INSTALLED)  ## make .venv with every dependency at its pinned version

$(BIN)/python:
	@python=; for name in python3.11 python3.12 python3; do \
	  if $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "make setup: Python 3.11 or 3.12 is needed; found: $$(python3 --version 2>&1). On Debian: apt install python3 python3-venv" >&2; exit 1; fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "make setup: $$($$python --version) has no venv module. On Debian: apt install python3-venv" >&2; exit 1; fi; \
	echo "making $(VENV) with $$($$python --version)"; $$python -m venv $(VENV)

# torch comes first and alone: the build chosen here (CUDA or CPU) stands, and no other package pulls another one.
$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing into $(VENV): a few minutes, once'
	$(PIP) --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(PIP) -c constraints.txt -e '.[dev]'
	$(BIN)/python -c 'import $(WARM)'
	@touch $@

demo: $(INSTALLED)  ## the main job, from records to a served answer, on the synthetic sample corpus
	$(BIN)/protein2text demo

demo-real: named-data $(INSTALLED)  ## the same chain on real files: make demo-real DATA=FOLDER
	$(BIN)/protein2text demo-real $(DATA)

named-data:
	@if [ -z "$(DATA)" ]; then echo "make demo-real: name the folder of real files: make demo-real DATA=FOLDER (see README.md)" >&2; exit 2; fi

serve: $(INSTALLED)  ## serve the demo's champion until interrupted: make serve [RUN=runs/demo] [PORT=8000]
	$(BIN)/protein2text serve --run $(RUN) --port $(PORT)

# Two processes share the files; one file stays in one process, since a module's fixtures may be a whole Ray.
test: $(INSTALLED)  ## the tests, without the slow ones: make test [AREA=models]
	$(BIN)/python -m pytest -rs -m 'not slow' -n logical --maxprocesses 2 --dist loadfile --no-loadscope-reorder tests/$(AREA)

test-slow: $(INSTALLED)  ## the slow tests: make test-slow [AREA=train]
	$(BIN)/python -m pytest -rs -m slow tests/$(AREA)

check: $(INSTALLED)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)  ## measurements, as CSV rows under benchmarks/
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python benchmarks/train_step.py --preset tiny --records 32
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/literature.py
	$(BIN)/python benchmarks/qa_checks.py
	$(BIN)/python benchmarks/qa_corpus.py
	$(BIN)/python benchmarks/split.py
	$(BIN)/python benchmarks/neighbours.py
	$(BIN)/python benchmarks/scaling.py

clean:  ## remove what the commands above made
	rm -rf $(VENV) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
