"""Loading in 4 and 8 bits, as LLaVA asks for it."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

from llava_faba.compat.precision import takes_type_from_files

_FLAGS = ("load_in_4bit", "load_in_8bit")


def flags_as_config(original: Callable[..., Any]) -> Callable[..., Any]:
    """transformers 5 has dropped ``load_in_4bit`` and ``load_in_8bit``, so that they reach the model's ``__init__``.

    What they say goes into ``quantization_config``, unless one is passed beside them.
    """
    if set(_FLAGS) <= set(inspect.unwrap(original).__code__.co_consts):
        return original

    @functools.wraps(original)
    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
        asked = {name: kwargs.pop(name) for name in _FLAGS if name in kwargs}
        if any(asked.values()) and kwargs.get("quantization_config") is None:
            from transformers import BitsAndBytesConfig

            kwargs["quantization_config"] = BitsAndBytesConfig(**asked)
        return original(cls, *args, **kwargs)

    return from_pretrained


def float16_beside_quantized(original: Callable[..., Any]) -> Callable[..., Any]:
    """What is not quantized was float16 in transformers 4.x unless a type was named; in 5 it has the files' type.

    LLaVA names none for ``--load-4bit`` and feeds its projector float16 images.
    """
    if not takes_type_from_files():
        return original

    @functools.wraps(original)
    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
        named = kwargs.get("dtype") is not None or kwargs.get("torch_dtype") is not None
        if kwargs.get("quantization_config") is not None and not named:
            import torch

            kwargs["torch_dtype"] = torch.float16
        return original(cls, *args, **kwargs)

    return from_pretrained


def skips_by_part_of_name(original: Callable[..., Any]) -> Callable[..., Any]:
    """LLaVA leaves ``mm_projector`` unquantized; transformers 5 compares that with the begin and the end of a name.

    ``model.mm_projector.0`` has it in the middle, and a quantized projector cannot be trained. Newer transformers take
    a regular expression for a name, so each one is given as such.
    """
    try:
        from transformers.quantizers.quantizers_utils import should_convert_module
    except ImportError:
        return original
    if not should_convert_module("model.mm_projector.0", ["mm_projector"]):
        return original

    @functools.wraps(original)
    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
        quantization = kwargs.get("quantization_config")
        skipped = getattr(quantization, "llm_int8_skip_modules", None)
        if quantization is not None and skipped:
            quantization.llm_int8_skip_modules = [rf"(?:.*\.)?{re.escape(name)}" for name in skipped]
        return original(cls, *args, **kwargs)

    return from_pretrained
