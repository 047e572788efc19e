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


def hub_folder(original: Any) -> Any:
    """``huggingface_hub.HfFolder``, gone since 1.0; gradio 4 imports it for the token of the machine's user."""
    if original is not MISSING:
        return original
    import huggingface_hub

    class HfFolder:
        get_token = staticmethod(huggingface_hub.get_token)

    return HfFolder
