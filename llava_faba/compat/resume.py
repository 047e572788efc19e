"""What stands between transformers' resume and the versions of torch and DeepSpeed that are installed."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def own_random_state_trusted() -> Iterator[None]:
    """transformers 4.37 saves numpy's random state and reads it back with torch.load, which no longer allows that."""
    import numpy as np

    if not hasattr(torch.serialization, "safe_globals"):  # before torch 2.5 torch.load reads everything
        yield
        return
    reconstruct = np.zeros(1).__reduce__()[0]
    allowed: list[Any] = [reconstruct, np.ndarray, np.dtype, type(np.dtype(np.uint32))]
    with torch.serialization.safe_globals(allowed):
        yield


@contextlib.contextmanager
def deepspeed_without_frozen_weights() -> Iterator[None]:
    """Checkpoints are saved without frozen weights; transformers 4.37 loads them as if those were there.

    Every weight that was trained must have been compared by name before.
    """
    import transformers.trainer as module

    original = getattr(module, "deepspeed_load_checkpoint", None)
    if original is None or "load_module_strict" in inspect.signature(original).parameters:
        yield
        return

    def load(engine: Any, checkpoint_path: str, **kwargs: Any) -> Any:
        strict = engine.load_checkpoint

        def lenient(*args: Any, **options: Any) -> Any:
            return strict(*args, **{**options, "load_module_strict": False})

        engine.load_checkpoint = lenient
        try:
            return original(engine, checkpoint_path, **kwargs)
        finally:
            del engine.load_checkpoint

    module.deepspeed_load_checkpoint = load
    try:
        yield
    finally:
        module.deepspeed_load_checkpoint = original


def counts_whole_steps_only() -> bool:
    """Whether the installed Trainer takes an epoch for ``batches // gradient_accumulation_steps`` updates.

    It then carries the gradients of the batches that are left over into the next epoch, and cannot find its place in
    the data again. transformers 4.52 counts and makes a smaller last update instead.
    """
    import transformers
    from packaging.version import Version

    return Version(transformers.__version__) < Version("4.52")
