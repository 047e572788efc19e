"""The prior projector: facial prior (batch, prior size) to one token's embedding (batch, hidden size).

It is a sibling of LLaVA's ``mm_projector`` under the name that the reference checkpoints use
(docs/decisions/0001-sibling-projector.md), and is built by LLaVA's own projector builder.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from llava.model.multimodal_projector.builder import build_vision_projector

from llava_faba.errors import UserError
from llava_faba.model.config import prior_size

PROJECTOR_NAME = "landmark_feature_projector"


def build_prior_projector(config: Any) -> torch.nn.Module:
    """A fresh projector for ``config``: ``linear``, ``mlpNx_gelu`` or ``identity``.

    Raises UserError for an unknown type, and for ``identity`` when prior size and hidden size differ.
    """
    size, hidden = prior_size(config), config.hidden_size
    kind = getattr(config, "facial_prior_projector_type", None) or getattr(config, "mm_projector_type", "linear")
    if kind == "identity" and size != hidden:
        raise UserError(
            f"facial_prior_projector_type 'identity' needs priors of the model's hidden size {hidden}, these have "
            f"{size}; use 'linear' or 'mlp2x_gelu'."
        )
    try:
        return build_vision_projector(SimpleNamespace(mm_projector_type=kind, mm_hidden_size=size, hidden_size=hidden))
    except ValueError as error:
        raise UserError(
            f"facial_prior_projector_type '{kind}' is unknown; use 'linear', 'mlp2x_gelu' (or another number of "
            "layers) or 'identity'."
        ) from error


def projector_state(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The projector's own entries of a state dict, under the projector's own names ("0.weight", ...)."""
    marker = PROJECTOR_NAME + "."
    return {key.split(marker, 1)[1]: value for key, value in weights.items() if marker in key}
