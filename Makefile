# The two commands of the README, and what stands behind them. Everything lives in .venv; nothing is installed elsewhere.

VENV ?= .venv
PYTHON ?= python3
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

export PATH := $(CURDIR)/$(BIN):$(PATH)
export TORCH_EXTENSIONS_DIR ?= $(CURDIR)/$(VENV)/torch_extensions
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export DS_ACCELERATOR ?= cpu

.PHONY: setup demo demo-ablation demo-clean test test-all lint format benchmarks

setup: $(STAMP)

# torch alone first (a plain requirement would pull another build), then the pinned stack, then what serves LLaVA's web
# page and LLaVA itself, both without their own pins: gradio's ask for an old Pillow, LLaVA's for a torch from 2023.
$(STAMP): requirements/torch.txt requirements/upstream.txt requirements/serve.txt requirements/llava.txt setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -r requirements/torch.txt
	$(BIN)/pip install -q -r requirements/upstream.txt
	$(BIN)/pip install -q --no-deps -r requirements/serve.txt
	$(BIN)/pip install -q --no-deps -r requirements/llava.txt
	$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	touch $@

demo: setup
	$(BIN)/llava-faba demo --root runs/demo

demo-ablation: setup
	$(BIN)/llava-faba demo --root runs/demo --ablation

demo-clean:
	rm -rf runs/demo

test: setup
	$(BIN)/python -m pytest -m "not slow"

test-all: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmarks: setup
	for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done
