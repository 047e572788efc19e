"""Number types that newer packages choose otherwise than those that LLaVA was written for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from llava_faba.compat.engine import replaced


def float32_tower(original: Any) -> Any:
    """LLaVA loads CLIP without naming a type: float32 in transformers 4.x, the files' own type in 5."""
    if not takes_type_from_files():
        return original

    class CLIPVisionModel(original):
        """A stand-in to be loaded from; what it loads is of the original class."""

        @classmethod
        def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
            return original.from_pretrained(*args, **typed_unless_told(kwargs, "float32"))

    return CLIPVisionModel


def train_from_float32(original: Callable[..., None]) -> Callable[..., None]:
    """``train()`` without --bf16 loads with ``torch_dtype=None``: float32 in transformers 4.x, in 5 the files' type.

    LLaVA-1.5's files are float16, in which training without a loss scale, or with one that expects float32, fails.
    """
    if not takes_type_from_files():
        return original
    from transformers import PreTrainedModel

    load = PreTrainedModel.from_pretrained.__func__

    def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
        return load(cls, *args, **typed_unless_told(kwargs, "float32"))

    @functools.wraps(original)
    def train(*args: Any, **kwargs: Any) -> None:
        with replaced(PreTrainedModel, "from_pretrained", classmethod(from_pretrained)):
            original(*args, **kwargs)

    return train


def adapters_in_model_dtype(original: Callable[..., None]) -> Callable[..., None]:
    """Newer peft makes the adapters of a bf16 model float32 unless told not to, when they are new and when loaded.

    Under ZeRO-3 DeepSpeed then finds two types in one flat buffer and stops with a bare AssertionError; a run that
    goes on from a checkpoint goes on in another precision.
    """
    import peft

    if "autocast_adapter_dtype" not in inspect.signature(peft.get_peft_model).parameters:
        return original

    @functools.wraps(original)
    def train(*args: Any, **kwargs: Any) -> None:
        with (
            replaced(peft, "get_peft_model", _as_they_are(peft.get_peft_model)),
            replaced(peft.PeftModel, "load_adapter", _as_they_are(peft.PeftModel.load_adapter)),
        ):
            original(*args, **kwargs)

    return train


def _as_they_are(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def without_autocast(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **{"autocast_adapter_dtype": False, **kwargs})

    return without_autocast


def takes_type_from_files() -> bool:
    """Whether the type may be that of the files: where the argument is named ``dtype``, as it has been since 4.56.

    Between 4.56 and 5 float32 was still the default, and naming it changes nothing.
    """
    from transformers import PretrainedConfig

    return hasattr(PretrainedConfig(), "dtype")


def typed_unless_told(options: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Options of ``from_pretrained`` that name a type: their own, or this one of torch's."""
    if options.get("torch_dtype") is not None or options.get("dtype") is not None:
        return options
    import torch

    rest = {name: value for name, value in options.items() if name != "torch_dtype"}
    return {**rest, "dtype": getattr(torch, dtype)}
