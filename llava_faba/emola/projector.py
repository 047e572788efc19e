"""The prior projector's layers, built as LLaVA builds its image projector, under the same names."""

from __future__ import annotations

import re

import torch

from llava_faba.errors import UserError

_MLP = re.compile(r"mlp(\d{1,2})x_gelu")
DEEPEST = 16  # a config from a stranger must not allocate without bound


class IdentityProjector(torch.nn.Module):
    """Hands on what it gets: priors that have the model's hidden size already."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def projector_depth(kind: str) -> int:
    """How many linear layers a projector of this type has: 1 for ``linear``, N for ``mlpNx_gelu``, 0 for ``identity``.

    Raises UserError for an unknown type.
    """
    if kind == "linear":
        return 1
    if kind == "identity":
        return 0
    match = _MLP.fullmatch(kind)
    depth = int(match.group(1)) if match else 0
    if not 1 <= depth <= DEEPEST:
        raise UserError(
            f"facial_prior_projector_type '{kind}' is unknown; use 'linear', 'mlp2x_gelu' (or another number of "
            f"layers, up to {DEEPEST}) or 'identity'."
        )
    return depth


def build_projector(kind: str, size: int, hidden: int) -> torch.nn.Module:
    """A fresh projector from priors (n, ``size``) to embeddings (n, ``hidden``).

    ``linear`` is one layer; ``mlpNx_gelu`` has the layers "0", "2", "4" ... with GELU between them.
    Raises UserError for an unknown type, and for ``identity`` when the two sizes differ.
    """
    depth = projector_depth(kind)
    if depth == 0:
        if size != hidden:
            raise UserError(
                f"facial_prior_projector_type 'identity' needs priors of the model's hidden size {hidden}, these have "
                f"{size}; use 'linear' or 'mlp2x_gelu'."
            )
        return IdentityProjector()
    if kind == "linear":
        return torch.nn.Linear(size, hidden)
    layers: list[torch.nn.Module] = [torch.nn.Linear(size, hidden)]
    for _ in range(1, depth):
        layers += [torch.nn.GELU(), torch.nn.Linear(hidden, hidden)]
    return torch.nn.Sequential(*layers)
