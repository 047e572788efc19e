"""LLaVA's config under EmoLA's name; what it says about the prior: ``emola/settings.py``."""

from __future__ import annotations

from llava.model.language_model.llava_llama import LlavaConfig

from llava_faba.emola.settings import PRIOR_SIZE_KEY, REFERENCE_EXPERT, expert_name, has_prior, prior_size

__all__ = [
    "PRIOR_SIZE_KEY",
    "REFERENCE_EXPERT",
    "EmolaConfig",
    "expert_name",
    "has_prior",
    "prior_size",
]


class EmolaConfig(LlavaConfig):
    """LLaVA's config under the reference implementation's model type."""

    model_type = "emollava"
