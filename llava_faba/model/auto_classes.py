"""EmoLA's model type in transformers' Auto classes."""

from __future__ import annotations

from llava_faba.model.config import EmolaConfig
from llava_faba.model.emola import EmolaLlamaForCausalLM


def register() -> None:
    """Make ``AutoConfig`` and ``AutoModelForCausalLM`` know the type; calling it again does nothing."""
    from transformers import AutoConfig, AutoModelForCausalLM

    AutoConfig.register(EmolaConfig.model_type, EmolaConfig, exist_ok=True)
    AutoModelForCausalLM.register(EmolaConfig, EmolaLlamaForCausalLM, exist_ok=True)


def unregister() -> None:
    """Take it back."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    # transformers can register a type but has no public way to take it back.
    CONFIG_MAPPING._extra_content.pop(EmolaConfig.model_type, None)
    MODEL_FOR_CAUSAL_LM_MAPPING._extra_content.pop(EmolaConfig, None)
