"""LLaVA's own ``load_pretrained_model``, with the care of ours.

Upstream chooses what to do by the folder's name; an EmoLA folder is known by its content. Whatever it loads, plain
checkpoints too, it gets from private folders of vetted files (``model/handing_over.py``).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llava_faba.building import building_modules
from llava_faba.compat.half import float32_where_half_is_missing
from llava_faba.errors import CheckpointError, UserError
from llava_faba.model.checkpoints import Checkpoint, inspect_checkpoint
from llava_faba.model.handing_over import hand_over, hand_over_path, restore_loaded
from llava_faba.vetting.folder import original_of

# A name from which upstream's builder does the right thing: LLaVA-LLaMA, as an adapter or not.
_ADAPTER_NAME, _MERGED_NAME = "llava-v1-lora", "llava-v1"


def wrap_load_pretrained_model(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``llava.model.builder.load_pretrained_model``."""

    @functools.wraps(original)
    def load_pretrained_model(
        model_path: str, model_base: str | None, model_name: str, *args: Any, **kwargs: Any
    ) -> Any:
        with building_modules():
            if original_of(model_path) is not None:  # vetted already, by a wrapper of ours around this one
                return original(model_path, model_base, model_name, *args, **kwargs)
            if not Path(model_path).is_dir() and (model_path.startswith((".", "/", "~")) or model_path.count("/") != 1):
                return original(
                    model_path, model_base, model_name, *args, **kwargs
                )  # its own words for what is not there
            checkpoint = inspect_checkpoint(model_path, adapter_alone=True)
            if checkpoint.is_emola:
                loaded = _load_emola(original, checkpoint, model_base, *args, **kwargs)
            else:
                loaded = _load_plain(original, checkpoint, model_path, model_base, model_name, *args, **kwargs)
            for part in loaded[:2]:
                restore_loaded(part)
            float32_where_half_is_missing(loaded[1])
            return loaded

    return load_pretrained_model


def _check_quantization(original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    given = inspect.signature(original).bind("path", None, "name", *args, **kwargs).arguments
    if not (given.get("load_8bit") or given.get("load_4bit")):
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "loading in 8 or 4 bits (--load-8bit, --load-4bit) needs the package bitsandbytes, which is not installed: "
            "'pip install bitsandbytes' on a machine with a CUDA GPU, or leave the flag out."
        )


def _load_plain(
    original: Callable[..., Any],
    checkpoint: Checkpoint,
    model_path: str,
    model_base: str | None,
    model_name: str,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """As upstream does it, by the folder's name, from vetted files."""
    if not checkpoint.config and "llava" in model_name.lower():
        raise CheckpointError(f"{checkpoint.folder}: not a model folder, config.json is missing.")
    checkpoint.check_weights()
    base = model_base
    if model_base is not None and checkpoint.needs_base:
        base = str(hand_over(checkpoint.checked_base(model_base), called=model_base))
    elif model_base is not None:
        base = str(hand_over_path(model_base))
    private = hand_over(checkpoint, called=model_path)
    return original(str(private), base, model_name, *args, **kwargs)


def _load_emola(
    original: Callable[..., Any], checkpoint: Checkpoint, model_base: str | None, *args: Any, **kwargs: Any
) -> Any:
    _check_quantization(original, args, kwargs)
    checkpoint.check_weights()
    if not checkpoint.needs_base:
        return original(str(hand_over(checkpoint)), None, _MERGED_NAME, *args, **kwargs)
    projector = checkpoint.projector_weights()
    base = checkpoint.checked_base(model_base)
    private = hand_over(checkpoint, near=(base.folder,))
    name = _ADAPTER_NAME if checkpoint.is_adapter else _MERGED_NAME
    with _fitting(checkpoint):
        loaded = original(str(private), str(hand_over(base, near=(checkpoint.folder,))), name, *args, **kwargs)
        loaded[1].load_state_dict(projector, strict=False)
    return loaded


@contextlib.contextmanager
def _fitting(checkpoint: Checkpoint) -> Iterator[None]:
    """LLaVA also loads tensors whose place a projector's own file takes; torch refuses those of other shapes."""
    try:
        yield
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        words = " ".join(str(error).partition("size mismatch")[2].split())[:300]
        raise CheckpointError(f"{checkpoint.folder}: a tensor does not fit the model: size mismatch{words}") from error
