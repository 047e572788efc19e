"""Names that LLaVA imports from where newer packages no longer have them."""

from __future__ import annotations

from typing import Any

from llava_faba.compat.shims import MISSING


def layernorm_layers(original: Any) -> Any:
    """``transformers.trainer.ALL_LAYERNORM_LAYERS``, which transformers 5 keeps in ``pytorch_utils`` alone.

    ``llava.train.llava_trainer`` imports it from the trainer's module.
    """
    if original is not MISSING:
        return original
    from transformers.pytorch_utils import ALL_LAYERNORM_LAYERS

    return ALL_LAYERNORM_LAYERS
