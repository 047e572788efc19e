"""EmoLA as a model of vLLM: its LLaVA, whose every picture brings one more token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from vllm.model_executor.models.llava import LlavaForConditionalGeneration
from vllm.multimodal import MULTIMODAL_REGISTRY

from llava_faba.native.modeling import PriorProjector
from llava_faba.vllm_plugin.processing import (
    EmolaMultiModalProcessor,
    EmolaProcessingInfo,
    dummy_inputs,
    priors_of,
)

_TOWER = "model.vision_tower."


@MULTIMODAL_REGISTRY.register_processor(EmolaMultiModalProcessor, info=EmolaProcessingInfo, dummy_inputs=dummy_inputs)
class EmolaForConditionalGeneration(LlavaForConditionalGeneration):
    """``llava_faba.native.EmolaForConditionalGeneration`` in vLLM's layers; LLaVA-1.5's pictures only."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        config = vllm_config.model_config.hf_config
        if config.image_aspect_ratio == "anyres":
            raise ValueError(
                "pictures in crops (LLaVA-1.6, image_aspect_ratio 'anyres') are not served by the vLLM plugin; take "
                "'llava-faba bench generate --engine transformers'."
            )
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        with self._mark_tower_model(vllm_config, "image"):
            self.prior_projector = PriorProjector(config)

    def embed_multimodal(self, **kwargs: object) -> Any:
        """For each picture its patches' embeddings and, behind them, its prior's: (patches + 1, hidden)."""
        if kwargs.get("pixel_values") is None:
            return super().embed_multimodal(**kwargs)
        rows = priors_of(kwargs)
        pictures = super().embed_multimodal(**kwargs)
        if len(rows) != len(pictures):
            raise ValueError(f"{len(rows)} facial priors came with {len(pictures)} pictures.")
        weight = next(self.prior_projector.parameters(), None)
        tokens = self.prior_projector(rows if weight is None else rows.to(weight))
        return [torch.cat((picture, token[None].to(picture))) for picture, token in zip(pictures, tokens, strict=True)]

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor | None:
        """The placeholder itself is never an answer."""
        logits = super().compute_logits(hidden_states)
        if logits is not None:
            logits[..., self.config.image_token_index] = torch.finfo(logits.dtype).min
        return logits

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        return super().load_weights((_named(name), tensor) for name, tensor in weights)


def _named(name: str) -> str:
    """A name of the checkpoint as vLLM's LLaVA reads it; ``save_pretrained`` leaves out the tower's inner name."""
    if name.startswith("model.prior_projector."):
        return name.removeprefix("model.")
    if name.startswith(_TOWER) and not name.startswith(f"{_TOWER}vision_model."):
        return f"{_TOWER}vision_model.{name.removeprefix(_TOWER)}"
    return name
