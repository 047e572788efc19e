"""What a checkpoint's config.json says about its facial prior.

The keys of the reference format (``model_type: emollava``, ``landmark_feature_hidden_size``) are kept; ours are added
beside them, so that an older reader still finds what it knows:

=================================  ==========================================================================
``landmark_feature_hidden_size``   numbers in a prior; its presence is what makes a config an EmoLA config
``facial_prior_expert``            name of the expert that made the priors (absent: ``emola-106``, the authors');
                                   of several, their names joined by "+"
``facial_prior_sizes``             numbers of each of several experts, in their order (absent: one expert)
``facial_prior_expert_version``    its version, for the reader
``facial_prior_expert_settings``   its settings, needed to compute the same prior again
``facial_prior_tokens``            how a prior becomes tokens (absent: ``global``, one; see ``vetting/prior_tokens.py``)
``facial_prior_regions``           of what each of several tokens is: name, columns of the prior, numbers of a point
``facial_prior_projector_type``    ``linear``, ``mlpNx_gelu`` or ``identity`` (absent: as ``mm_projector_type``)
``facial_prior_normalization``     ``none``, ``standardize`` or ``pose`` (absent: ``none``), or one for each of several
                                   experts, joined by "+"
``facial_prior_statistics``        what the normalization was fitted to (see ``emola/normalization.py``)
=================================  ==========================================================================
"""

from __future__ import annotations

from typing import Any

PRIOR_SIZE_KEY = "landmark_feature_hidden_size"
REFERENCE_EXPERT = "emola-106"
UNNAMED_EXPERT = "precomputed"
"""Vectors that come without their expert's name, as FABA-Instruct's landmark files do: the reference expert's."""


def prior_size(config: Any) -> int | None:
    """Numbers in a facial prior, or None for a plain LLaVA config (an object or a dict read from config.json)."""
    if isinstance(config, dict):
        return config.get(PRIOR_SIZE_KEY)
    return getattr(config, PRIOR_SIZE_KEY, None)


def has_prior(config: Any) -> bool:
    """Whether this is the config of an EmoLA model."""
    return prior_size(config) is not None


def expert_name(config: Any) -> str:
    """The expert whose priors the model was trained on."""
    return getattr(config, "facial_prior_expert", None) or REFERENCE_EXPERT


def stands_for_reference(made_by: str, trained_on: str) -> bool:
    """Whether priors that nobody names are given to a model of the reference expert, which is their usual home."""
    return made_by == UNNAMED_EXPERT and trained_on == REFERENCE_EXPERT
