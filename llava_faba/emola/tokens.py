"""A facial prior as more than one token: regions of the face, and a picture's tokens that attend to them.

After Face-LLaVA (Chaubey et al., arXiv 2504.07198): one linear layer for each region of the face, and cross-attention
of the picture's tokens to the regions' behind the image projector, whose result is added at a tenth of its size. Its
released code builds the grid of patch centres with x and y exchanged, and adds a thousandth; here a column is x.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from llava_faba.emola.projector import build_projector
from llava_faba.errors import PriorError
from llava_faba.vetting.prior_tokens import ATTENTION, GUIDED, HEADS, REGIONS_KEY, TOKENS_KEY, has_whole, kind_of

BRANCH = 0.1
"""What the attended tokens are multiplied by before they are added to the picture's."""

_REGION = "region_"


def attends(config: Any) -> bool:
    """Whether the picture's tokens attend to the prior, which then has no tokens of its own."""
    return kind_of(vars(config)) in ATTENTION


class RegionTokens(torch.nn.Module):
    """Normalized priors (n, size) to tokens (n, regions, hidden), in the regions' order; ``whole``, a projector of the
    whole prior, gives one more behind them."""

    def __init__(self, regions: Sequence[Mapping[str, Any]], hidden: int, whole: torch.nn.Module | None = None) -> None:
        super().__init__()
        self._columns = {str(region["name"]): list(region["columns"]) for region in regions}
        for name, columns in self._columns.items():
            self.add_module(f"{_REGION}{name}", torch.nn.Linear(len(columns), hidden))
        self.whole = whole

    def forward(self, priors: torch.Tensor) -> torch.Tensor:
        tokens = [
            getattr(self, f"{_REGION}{name}")(priors[:, torch.as_tensor(columns, device=priors.device)])
            for name, columns in self._columns.items()
        ]
        if self.whole is not None:
            tokens.append(self.whole(priors))
        return torch.stack(tokens, dim=1)


class PriorAttention(torch.nn.Module):
    """A picture's tokens, changed by what they find in the prior's regions; their number stays.

    The steps: queries of the picture's tokens, keys and values of the regions', ``HEADS`` heads; the result is added
    to the picture's tokens and normalized by layer; one linear layer; a tenth of it is added to the picture's tokens.
    """

    def __init__(self, regions: Sequence[Mapping[str, Any]], hidden: int) -> None:
        super().__init__()
        self.tokens = RegionTokens(regions, hidden)
        # Called one by one rather than torch's MultiheadAttention, which reads weights of layers that it does not call:
        # ZeRO-3 gathers a layer's weights when it is called.
        self.query, self.key = torch.nn.Linear(hidden, hidden), torch.nn.Linear(hidden, hidden)
        self.value, self.attended = torch.nn.Linear(hidden, hidden), torch.nn.Linear(hidden, hidden)
        self.norm, self.branch = torch.nn.LayerNorm(hidden), torch.nn.Linear(hidden, hidden)

    def forward(
        self, pictures: torch.Tensor, priors: torch.Tensor, found: torch.Tensor, nearness: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``pictures`` (n, tokens, hidden) after the image projector; ``priors`` (n, size), normalized; ``found`` (n,):
        whether a picture has a face; one without stays as it is. ``nearness`` (n, tokens, regions) is added to the
        scores."""
        regions = self.tokens(priors)
        queries, keys, values = (
            _heads(layer(x)) for layer, x in ((self.query, pictures), (self.key, regions), (self.value, regions))
        )
        scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
        if nearness is not None:
            scores = scores + nearness[:, None].to(scores.dtype)
        attended = torch.softmax(scores.float(), dim=-1).to(values.dtype) @ values
        joined = self.norm(pictures + self.attended(attended.transpose(1, 2).flatten(2)))
        change = BRANCH * self.branch(joined)
        return pictures + torch.where(found[:, None, None], change, torch.zeros_like(change))


def build_tokens(config: Any, kind: str, size: int) -> torch.nn.Module:
    """The module that makes tokens of priors of ``size`` numbers, as a config asks; ``kind`` of projector: the whole
    prior's. For "global" it is that projector, under the authors' names."""
    wanted, regions, hidden = kind_of(vars(config)), getattr(config, REGIONS_KEY, None) or [], int(config.hidden_size)
    if wanted in ATTENTION:
        return PriorAttention(regions, hidden)
    whole = build_projector(kind, size, hidden) if has_whole(wanted) else None
    return whole if whole is not None and not regions else RegionTokens(regions, hidden, whole)


def nearness(config: Any, priors: torch.Tensor, tokens: int) -> torch.Tensor | None:
    """(n, tokens, regions): for the guided kind softmax(-distance) of each patch's centre to the regions'; else None.

    ``priors`` (n, size) as the expert made them, not normalized. Raises PriorError where the tokens are no square of
    patches.
    """
    if kind_of(vars(config)) != GUIDED:
        return None
    regions = getattr(config, REGIONS_KEY)
    whole = getattr(config, "mm_vision_select_feature", "patch") == "cls_patch"
    side = math.isqrt(max(tokens - whole, 0))
    if side < 1 or side * side != tokens - whole:
        raise PriorError(
            f"{TOKENS_KEY} '{GUIDED}' needs pictures of one square of patches, and these have {tokens} tokens."
        )
    distances = torch.cdist(patch_centres(side, priors.device)[None], region_centres(regions, priors))
    if whole:  # the class token is nowhere: as near to all
        distances = torch.cat((torch.zeros_like(distances[:, :1]), distances), dim=1)
    return torch.softmax(-distances, dim=-1)


def patch_centres(side: int, device: Any = None) -> torch.Tensor:
    """(side * side, 2): x and y of the centres of patches, row by row as the tower orders them, 0 to 1."""
    middles = (torch.arange(side, device=device, dtype=torch.float32) + 0.5) / side
    rows, columns = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack((columns, rows), dim=-1).reshape(-1, 2)


def region_centres(regions: Sequence[Mapping[str, Any]], priors: torch.Tensor) -> torch.Tensor:
    """(n, regions, 2): x and y of the middle of each region's points in the picture padded to a square of 0 to 1.

    A prior's coordinates are from the picture's centre, in halves of its longer side: the padded square is -1 to 1.
    """
    centres = []
    for region in regions:
        columns = torch.as_tensor(region["columns"], device=priors.device)
        points = priors[:, columns].float().unflatten(1, (-1, region["dimensions"]))[..., :2]
        centres.append((points.mean(dim=1) + 1) / 2)
    return torch.stack(centres, dim=1)


def _heads(x: torch.Tensor) -> torch.Tensor:
    """(n, tokens, hidden) to (n, HEADS, tokens, hidden / HEADS)."""
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)
