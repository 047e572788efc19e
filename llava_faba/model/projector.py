"""The prior projector: facial prior (batch, prior size) to one token's embedding (batch, hidden size), or to several.

It is a sibling of LLaVA's ``mm_projector`` under the name that the reference checkpoints use
(docs/decisions/0001-sibling-projector.md), and has the layers that LLaVA's own projector builder makes.
"""

from __future__ import annotations

from typing import Any

import torch

from llava_faba.emola.settings import prior_size
from llava_faba.emola.tokens import build_tokens

PROJECTOR_NAME = "landmark_feature_projector"


def build_prior_projector(config: Any) -> torch.nn.Module:
    """A fresh projector for ``config``: ``linear``, ``mlpNx_gelu`` or ``identity``, or what its ``facial_prior_tokens``
    ask for (``emola/tokens.py``).

    Raises UserError for an unknown type, and for ``identity`` when prior size and hidden size differ.
    """
    kind = getattr(config, "facial_prior_projector_type", None) or getattr(config, "mm_projector_type", "linear")
    return build_tokens(config, str(kind), int(prior_size(config) or 0))


def projector_state(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The projector's own entries of a state dict, under the projector's own names ("0.weight", ...)."""
    marker = PROJECTOR_NAME + "."
    return {key.split(marker, 1)[1]: value for key, value in weights.items() if marker in key}
