"""Loading in 4 and 8 bits, as LLaVA asks for it."""

from __future__ import annotations

import copy
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

from llava_faba.compat.precision import takes_type_from_files, typed_unless_told

_FLAGS = ("load_in_4bit", "load_in_8bit")


def quantization_of(options: dict[str, Any]) -> Any:
    """What these options of ``from_pretrained`` ask for: a config, or one made from the flags; None for neither."""
    given = options.get("quantization_config")
    flags = {name: True for name in _FLAGS if options.get(name)}
    if given is not None or not flags:
        return given
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(**flags)


def flags_as_config(original: Callable[..., Any]) -> Callable[..., Any]:
    """transformers 5 has dropped ``load_in_4bit`` and ``load_in_8bit``, so that they reach the model's ``__init__``.

    What they say goes into ``quantization_config``, unless one is passed beside them.
    """
    if set(_FLAGS) <= set(inspect.unwrap(original).__code__.co_consts):
        return original

    @functools.wraps(original)
    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
        options = {name: value for name, value in kwargs.items() if name not in _FLAGS}
        quantization = quantization_of(kwargs)
        if quantization is not None:
            options["quantization_config"] = quantization
        return original(cls, *args, **options)

    return from_pretrained


def float16_beside_quantized(original: Callable[..., Any]) -> Callable[..., Any]:
    """What is not quantized was float16 in transformers 4.x unless a type was named; in 5 it has the files' type.

    LLaVA names none for ``--load-4bit`` and feeds its projector float16 images.
    """
    if not takes_type_from_files():
        return original

    @functools.wraps(original)
    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("quantization_config") is not None:
            kwargs = typed_unless_told(kwargs, "float16")
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
        quantization: Any = kwargs.get("quantization_config")
        skipped = getattr(quantization, "llm_int8_skip_modules", None)
        if skipped:
            quantization = kwargs["quantization_config"] = copy.deepcopy(quantization)  # the caller's stays as it is
            quantization.llm_int8_skip_modules = [rf"(?:.*\.)?{re.escape(name)}" for name in skipped]
        return original(cls, *args, **kwargs)

    return from_pretrained
