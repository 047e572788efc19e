"""Prompts without a picture: with the BOS that every text began with in training.

LLaVA's chat templates leave BOS to the tokenizer, which vLLM's chat tells to add nothing. With a picture the multimodal
processor adds it (``processing``); without one vLLM asks no code of a model's, only the renderer of its tokenizer.
"""

from __future__ import annotations

from typing import Any

from vllm.renderers.hf import HfRenderer
from vllm.renderers.registry import RENDERER_REGISTRY

_MODE = "hf"
_VLLMS_OWN = ("vllm.renderers.hf", "HfRenderer")


class EmolaRenderer(HfRenderer):
    """vLLM's renderer of Hugging Face's tokenizers; only prompts to an EmoLA are another matter."""

    def _process_tokens(self, prompt: Any, **kwargs: Any) -> Any:
        return super()._process_tokens(self._begun(prompt), **kwargs)

    async def _process_tokens_async(self, prompt: Any, **kwargs: Any) -> Any:
        return await super()._process_tokens_async(self._begun(prompt), **kwargs)

    def _begun(self, prompt: Any) -> Any:
        tokens, first = list(prompt["prompt_token_ids"]), self.get_tokenizer().bos_token_id
        is_ours = getattr(self.model_config.hf_config, "model_type", None) == "emola"
        if not is_ours or prompt.get("multi_modal_data") or first is None or tokens[:1] == [first]:
            return prompt
        begun = {**prompt, "prompt_token_ids": [first, *tokens]}
        if begun.get("prompt_token_offsets") is not None:
            begun["prompt_token_offsets"] = [(0, 0), *begun["prompt_token_offsets"]]
        return begun


def register_renderer() -> None:
    """Take the place of vLLM's renderer; of one that somebody else put there, not."""
    if RENDERER_REGISTRY.renderers.get(_MODE) == _VLLMS_OWN:  # ``register`` would warn of what is meant
        RENDERER_REGISTRY.renderers[_MODE] = (__name__, EmolaRenderer.__name__)
