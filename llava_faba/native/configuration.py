"""The native model's configuration: transformers' LLaVA, and what a facial prior needs.

The keys of the prior are those of LLaVA's home (``emola/settings.py``), so that both homes read one vocabulary.
"""

from __future__ import annotations

from typing import Any

from transformers import LlavaConfig

from llava_faba.native.checking import checked_config


class EmolaConfig(LlavaConfig):
    """Configuration of ``EmolaForConditionalGeneration``.

    ``landmark_feature_hidden_size``: numbers in a facial prior. ``facial_prior_expert``, ``_version``, ``_settings``:
    what made the priors. ``facial_prior_projector_type``: ``linear``, ``mlpNx_gelu`` or ``identity``.
    ``facial_prior_sizes``: numbers of each of several experts ("a+b").
    ``facial_prior_normalization``, ``facial_prior_statistics``: what is done to a prior before the projector.
    ``image_aspect_ratio``: how pictures become squares: "pad", "anyres" or None (CLIP's crop).
    ``image_grid_pinpoints``, ``mm_patch_merge_type``: LLaVA-1.6's, used with "anyres".
    ``image_mean``, ``image_std``: how pixels were normalized, to undo it where the model computes the prior itself.
    ``llava_config``: what else the source's config.json said, for the way back.
    ``tokenizer_size``: tokens of the tokenizer, the placeholder included; embeddings may have rows behind them.
    ``image_token_id`` is the placeholder: one for each patch and one for the prior.
    """

    model_type = "emola"

    landmark_feature_hidden_size: int = 212
    facial_prior_expert: str = "emola-106"
    facial_prior_expert_version: str | None = None
    facial_prior_expert_settings: dict[str, Any] | None = None
    facial_prior_sizes: list[int] | None = None
    facial_prior_projector_type: str = "mlp2x_gelu"
    facial_prior_normalization: str = "none"
    facial_prior_statistics: dict[str, Any] | None = None
    image_aspect_ratio: str | None = "pad"
    image_grid_pinpoints: list[Any] | None = None
    mm_patch_merge_type: str = "flat"
    image_mean: list[float] | None = None
    image_std: list[float] | None = None
    tokenizer_size: int | None = None
    llava_config: dict[str, Any] | None = None

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers, for what config.json says. Raises CheckpointError for values that cannot be."""
        return super().from_dict(checked_config(config_dict), **kwargs)
