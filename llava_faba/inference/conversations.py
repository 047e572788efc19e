"""Which conversation template a checkpoint was trained with, as far as its config says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llava_faba.inference.prediction import DEFAULT_CONVERSATION

_OF_MODEL_TYPES = {"llava_mistral": "mistral_instruct", "llava_mpt": "mpt"}


def conversation_of(config: Any) -> str:
    """The template's name: by the model's kind, as LLaVA's own command line chooses it (by the folder's name, there).

    ``config``: a transformers config, or the object in a config.json.
    """
    kind = config.get("model_type") if isinstance(config, Mapping) else getattr(config, "model_type", None)
    return _OF_MODEL_TYPES.get(str(kind), DEFAULT_CONVERSATION)


def conversation_of_checkpoint(model_path: str | Path) -> str:
    """``conversation_of`` for a folder or hub id, without loading the model. Raises CheckpointError."""
    from llava_faba.model.checkpoints import inspect_checkpoint

    return conversation_of(inspect_checkpoint(model_path).config)
