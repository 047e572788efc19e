"""The same tensor under the names of LLaVA's home and of transformers'.

Here a name of LLaVA's home is that of the merged model (``model.layers.0...``), the tower's own names come with the
prefix ``vision_tower.``.
"""

from __future__ import annotations

import re

PRIOR_PROJECTOR = "model.landmark_feature_projector."
_PREFIXES = (  # LLaVA's, transformers'
    ("vision_tower.vision_model.", "model.vision_tower.vision_model."),
    ("model.image_newline", "model.image_newline"),
    ("model.embed_tokens.", "model.language_model.embed_tokens."),
    ("model.layers.", "model.language_model.layers."),
    ("model.norm.", "model.language_model.norm."),
    ("lm_head.", "lm_head."),
)
_NUMBERED = (
    ("model.mm_projector.", "model.multi_modal_projector.linear_"),
    (PRIOR_PROJECTOR, "model.prior_projector.linear_"),
)
EMBEDDINGS = ("model.embed_tokens.weight", "lm_head.weight")


def to_native(name: str) -> str | None:
    """A name of LLaVA's home as transformers has it; None for one that no EmoLA on LLaMA has."""
    for theirs, ours in _NUMBERED:
        if name.startswith(theirs):
            match = re.fullmatch(r"(\d+)\.(weight|bias)", name.removeprefix(theirs))
            if match and int(match.group(1)) % 2 == 0:
                return f"{ours}{int(match.group(1)) // 2 + 1}.{match.group(2)}"
            if name.removeprefix(theirs) in ("weight", "bias"):  # a 'linear' projector
                return f"{ours}1.{name.removeprefix(theirs)}"
            return None
    for theirs, ours in _PREFIXES:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return None


def to_llava(name: str, *, linear_prior: bool = False) -> str | None:
    """The way back; ``linear_prior``: the prior projector is 'linear', whose one layer LLaVA's home does not number."""
    for theirs, ours in _NUMBERED:
        match = re.fullmatch(re.escape(ours) + r"(\d+)\.(weight|bias)", name)
        if match and linear_prior and theirs == PRIOR_PROJECTOR:
            return f"{theirs}{match.group(2)}"
        if match:
            return f"{theirs}{2 * (int(match.group(1)) - 1)}.{match.group(2)}"
    for theirs, ours in _PREFIXES:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return None
