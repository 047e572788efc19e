"""The cache of keys and values, which transformers 5.24 calls ``cache`` and LLaVA's classes ``past_key_values``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

_OLD, _NEW = "past_key_values", "cache"


def forward_by_old_name(original: Callable[..., Any]) -> Callable[..., Any]:
    """``LlamaForCausalLM.forward``, called by LLaVA's ``forward`` with the old name.

    transformers takes it until 5.40 with a warning; models that are not LLaVA's are left to that.
    """
    if not _is_renamed(original):
        return original

    @functools.wraps(original)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self, *args, **(_renamed(kwargs, _OLD, _NEW) if _is_llava(self) else kwargs))

    return forward


def inputs_by_old_name(original: Callable[..., Any]) -> Callable[..., Any]:
    """``prepare_inputs_for_generation``: its result goes to LLaVA's ``forward``, which knows the old name alone.

    LLaVA's own method hands on the new name, as ``generate`` gave it, and beside it the old one with None.
    """
    if not _is_renamed(original):
        return original

    @functools.wraps(original)
    def prepare_inputs_for_generation(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_llava(self):
            return original(self, *args, **kwargs)
        return _renamed(original(self, *args, **_renamed(kwargs, _OLD, _NEW)), _NEW, _OLD)

    return prepare_inputs_for_generation


def _is_renamed(function: Callable[..., Any]) -> bool:
    known = inspect.signature(function).parameters
    return _NEW in known and _OLD not in known


def _is_llava(model: Any) -> bool:
    return hasattr(model, "prepare_inputs_labels_for_multimodal")


def _renamed(values: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """``values`` with the one name in place of the other; where both are there, what is not None."""
    if old not in values:
        return values
    values = dict(values)
    value = values.pop(old)
    if value is not None or new not in values:
        values[new] = value
    return values
