"""LLaVA's own ``load_pretrained_model``, with the care of ours for EmoLA checkpoints.

Upstream chooses what to do by the folder's name; an EmoLA folder is known by its content. Plain checkpoints pass
through untouched.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llava_faba.errors import CheckpointError, UserError
from llava_faba.model.checkpoints import Checkpoint, inspect_checkpoint

# A name from which upstream's builder does the right thing: LLaVA-LLaMA, as an adapter or not.
_ADAPTER_NAME, _MERGED_NAME = "llava-v1-lora", "llava-v1"


def wrap_load_pretrained_model(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``llava.model.builder.load_pretrained_model``."""

    @functools.wraps(original)
    def load_pretrained_model(
        model_path: str, model_base: str | None, model_name: str, *args: Any, **kwargs: Any
    ) -> Any:
        checkpoint = _emola_checkpoint(model_path)
        if checkpoint is None:
            return original(model_path, model_base, model_name, *args, **kwargs)
        return _load_emola(original, checkpoint, model_base, *args, **kwargs)

    return load_pretrained_model


def _emola_checkpoint(model_path: str) -> Checkpoint | None:
    if not Path(model_path).is_dir() and not _is_emola_on_hub(model_path):
        return None
    try:
        checkpoint = inspect_checkpoint(model_path)
    except CheckpointError:
        return None  # not ours to judge: upstream accepts folders that have no config.json, such as bare adapters
    return checkpoint if checkpoint.is_emola else None


def _is_emola_on_hub(name: str) -> bool:
    from transformers import PretrainedConfig

    from llava_faba.model.config import has_prior

    try:
        return has_prior(PretrainedConfig.get_config_dict(name)[0])
    except OSError:
        return False


def _check_quantization(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    given = inspect.signature(original).bind("path", None, "name", *args, **kwargs).arguments
    if not (given.get("load_8bit") or given.get("load_4bit")):
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "loading in 8 or 4 bits (--load-8bit, --load-4bit) needs the package bitsandbytes, which is not installed: "
            "'pip install bitsandbytes' on a machine with a CUDA GPU, or leave the flag out."
        )


def _load_emola(
    original: Callable[..., Any], checkpoint: Checkpoint, model_base: str | None, *args: Any, **kwargs: Any
) -> Any:
    from llava_faba.model.dispatch import loading_from

    _check_quantization(original, args, kwargs)
    checkpoint.check_weights()
    folder = str(checkpoint.folder)
    with loading_from(checkpoint.folder):
        if not checkpoint.needs_base:
            return original(folder, None, _MERGED_NAME, *args, **kwargs)
        projector = checkpoint.projector_weights()
        base = checkpoint.base(model_base)
        inspect_checkpoint(base).check_weights()
        name = _ADAPTER_NAME if checkpoint.is_adapter else _MERGED_NAME
        loaded = original(folder, base, name, *args, **kwargs)
    model = loaded[1]
    model.load_state_dict(projector, strict=False)
    return loaded
