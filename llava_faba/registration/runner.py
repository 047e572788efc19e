"""Running a module of LLaVA as ``python -m`` would, with EmoLA registered."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec

from llava_faba.compat import web_page
from llava_faba.compat.device import on_cpu
from llava_faba.errors import UserError
from llava_faba.registration.engine import register

# A module run as __main__ is a second copy of itself, without the seams; these are imported and their train() called.
_TRAIN_MODULES = {
    "llava.train.train": None,
    "llava.train.train_mem": "flash_attention_2",
}


def run_module(module: str, arguments: Sequence[str], *, device: str | None = None) -> int:
    """Run ``module`` with ``arguments`` as its command line.

    ``device``: "cpu" keeps all that asks for CUDA on the CPU (see ``compat.device``); None leaves it alone.

    Raises UserError when there is no such module, UpstreamError when LLaVA cannot be used. ``sys.argv`` is restored.
    """
    with on_cpu() if device == "cpu" else contextlib.nullcontext():
        return _run(module, arguments)


def _run(module: str, arguments: Sequence[str]) -> int:
    register()
    spec = _find(module)
    if spec is None:
        raise UserError(f"no module named '{module}'; LLaVA's own are llava.serve.cli, llava.train.train and so on.")
    if spec.submodule_search_locations is not None and _find(f"{module}.__main__") is None:
        raise UserError(f"'{module}' is a package, not a program; name one of its modules, such as llava.serve.cli.")
    before = sys.argv
    sys.argv = [module, *arguments]
    try:
        if module in _TRAIN_MODULES:
            train = importlib.import_module("llava.train.train").train
            train(attn_implementation=_TRAIN_MODULES[module])
        else:
            with web_page.mended_web_page() if module == web_page.MODULE else contextlib.nullcontext():
                runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sys.argv = before
    return 0


def _find(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):  # a parent that is none, a relative name, an empty one
        return None
