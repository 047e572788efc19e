"""The one door to LLaVA: importing it, and saying plainly why it cannot be imported.

``llava/model/__init__.py`` swallows every import error, so that a broken environment shows up much later as
"cannot import name 'LlavaLlamaForCausalLM'". Everything of ours that needs LLaVA comes through here first.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from llava_faba.compat.engine import mend_packages
from llava_faba.errors import UpstreamError

INSTALL_HINT = (
    "Install LLaVA beside llava-faba: 'pip install --no-deps llava-torch==1.2.2.post1' into an environment that has "
    "torch and transformers, or 'pip install --no-deps -e .' in a LLaVA checkout."
)


def import_llava(module: str = "llava.model.builder") -> ModuleType:
    """Import a LLaVA module.

    Raises UpstreamError with the first real cause when LLaVA is absent, is another package of that name, or does
    not import in this environment.
    """
    cause = find_import_error()
    if cause is not None:
        raise UpstreamError(cause)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UpstreamError(f"cannot import {module}: {error}. {INSTALL_HINT}") from error


def find_import_error() -> str | None:
    """The reason why LLaVA's model classes cannot be imported, or None when they can."""
    if importlib.util.find_spec("llava") is None:
        return f"LLaVA is not installed (no module named 'llava'). {INSTALL_HINT}"
    try:
        mend_packages()
        # llava/model/__init__.py hides what goes wrong here, so it is imported for itself.
        importlib.import_module("llava.model.language_model.llava_llama")
        importlib.import_module("llava.model.builder")
    except Exception as error:  # anything at all may come out of a broken environment
        return (
            f"LLaVA is installed but does not import: {type(error).__name__}: {error}. "
            "Run 'llava-faba doctor' to see which package is at fault."
        )
    return None
