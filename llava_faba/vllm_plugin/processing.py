"""Requests to what the model takes: pictures, their placeholders, and a facial prior for each.

A prior comes with the request (``mm_processor_kwargs={"facial_priors": [[...]]}``) or from the expert that the folder
names. It is normalized here, in float32: vLLM casts all that leaves a processor to the model's type. vLLM's cache of
processed pictures has the request's ``mm_processor_kwargs`` in its key, and so the prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature
from vllm.logger import init_logger
from vllm.model_executor.models.llava import (
    BaseLlavaMultiModalProcessor,
    LlavaDummyInputsBuilder,
    LlavaProcessingInfo,
)
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import ImageEmbeddingItems
from vllm.multimodal.processing import ProcessorInputs

from llava_faba.emola.normalization import PriorNormalizer
from llava_faba.errors import UserError
from llava_faba.native import EmolaConfig, EmolaProcessor

logger = init_logger("vllm.llava_faba")

PRIORS = "facial_priors"
NO_FACE = "no_face"
_NO_FACE_CHOICES = ("answer", "refuse")
_TAKEN = (PRIORS, NO_FACE)


class PicturesAndPriors:
    """What vLLM calls as the "HF processor": pictures to ``pixel_values`` and normalized ``facial_priors``."""

    def __init__(self, processor: EmolaProcessor, config: EmolaConfig) -> None:
        self.processor = processor
        self.image_processor, self.image_token = processor.image_processor, processor.image_token
        self._normalizer = PriorNormalizer.from_config(config, config.landmark_feature_hidden_size)

    def __call__(
        self,
        images: Any = None,
        facial_priors: Any = None,
        no_face: str = "answer",
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """``facial_priors``: raw, (images, prior size); ``no_face``: "answer" with a prior of zeros, or "refuse".

        Raises UserError subclasses.
        """
        pictures = [_rgb(image) for image in images]
        if facial_priors is None:
            priors = self._computed(pictures, no_face)
        else:
            priors = self.processor.checked_priors(facial_priors, len(pictures))
        features = self.image_processor(pictures, return_tensors=return_tensors)
        return BatchFeature(
            {"pixel_values": features["pixel_values"], PRIORS: self._normalizer(torch.from_numpy(priors))}
        )

    def _computed(self, pictures: list[Any], no_face: str) -> np.ndarray:
        result = self.processor.compute_facial_priors(pictures)
        missing = [status.value for status, row in zip(result.statuses, result.features, strict=True) if not row.any()]
        if missing and no_face == "refuse":
            raise UserError(f"no facial prior could be computed: {missing[0]} ({NO_FACE} is 'refuse').")
        if missing:
            logger.warning("%d of %d pictures have no facial prior (%s)", len(missing), len(pictures), missing[0])
        return result.features


class EmolaProcessingInfo(LlavaProcessingInfo):
    """LLaVA's, with one token more for each picture."""

    def get_hf_config(self) -> EmolaConfig:
        return self.ctx.get_hf_config(EmolaConfig)

    def get_hf_processor(self, **kwargs: object) -> PicturesAndPriors:
        kept = {name: value for name, value in kwargs.items() if name not in _TAKEN}
        # A processor for each prior would be made and kept otherwise; what is left are the server's own settings.
        return PicturesAndPriors(self.ctx.get_hf_processor(EmolaProcessor, **kept), self.get_hf_config())

    def get_num_image_tokens(self, *, image_width: int, image_height: int) -> int:
        return super().get_num_image_tokens(image_width=image_width, image_height=image_height) + 1


class EmolaMultiModalProcessor(BaseLlavaMultiModalProcessor[EmolaProcessingInfo]):
    """LLaVA's, with ``facial_priors`` beside ``pixel_values``."""

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {
            "pixel_values": MultiModalFieldConfig.batched("image"),
            PRIORS: MultiModalFieldConfig.batched("image"),
        }

    def get_dummy_inputs(self, *args: Any, **kwargs: Any) -> ProcessorInputs:
        """What vLLM measures memory with: pictures without a face, so that no expert is needed to start."""
        inputs = super().get_dummy_inputs(*args, **kwargs)
        count = inputs.mm_data_items.get_count("image", strict=False)
        zeros = np.zeros((count, self.info.get_hf_config().landmark_feature_hidden_size), dtype=np.float32)
        inputs.hf_processor_mm_kwargs = {**inputs.hf_processor_mm_kwargs, PRIORS: _Zeros(zeros.tolist())}
        return inputs

    def apply(self, inputs: ProcessorInputs, *args: Any, **kwargs: Any) -> Any:
        """vLLM's, for requests that can be answered rightly. Raises ValueError, which is HTTP 400."""
        _check(inputs)
        try:
            return super().apply(inputs, *args, **kwargs)
        except ValueError as error:  # vLLM prints the whole request before the reason
            if isinstance(error.__cause__, UserError):
                raise ValueError(str(error.__cause__)) from error
            raise

    def _postprocess_prompt(self, prompt: list[int]) -> list[int]:
        """Every text that the model was trained on begins with BOS, which vLLM's chat leaves to the chat template."""
        first = self.info.get_tokenizer().bos_token_id
        return [first, *prompt] if first is not None and prompt[:1] != [first] else prompt


class _Zeros(list[list[float]]):
    """Priors of vLLM's own dummy pictures, of which there may be several."""


def _check(inputs: ProcessorInputs) -> None:
    given, images = inputs.hf_processor_mm_kwargs, inputs.mm_data_items.get_count("image", strict=False)
    unknown = sorted(set(given) - set(_TAKEN))
    if unknown:
        raise ValueError(f"mm_processor_kwargs: EmoLA takes {' and '.join(_TAKEN)}, not {unknown[0]!r}.")
    if given.get(NO_FACE, "answer") not in _NO_FACE_CHOICES:
        raise ValueError(f"mm_processor_kwargs: {NO_FACE} is one of {', '.join(_NO_FACE_CHOICES)}.")
    if isinstance(inputs.mm_data_items.get("image"), ImageEmbeddingItems):
        raise ValueError("EmoLA takes pictures, not image embeddings: a prior belongs to each picture.")
    priors = given.get(PRIORS)
    if priors is None or isinstance(priors, _Zeros):
        return
    if images > 1:  # vLLM asks for the pictures alone that are not in its cache, and the rows would be others
        raise ValueError(
            f"{PRIORS} are taken for one picture, this request has {images}; leave them out, or ask one by one."
        )


def _rgb(image: Any) -> Any:
    image = getattr(image, "media", image)
    return image.convert("RGB") if hasattr(image, "convert") else image


def dummy_inputs(info: EmolaProcessingInfo) -> LlavaDummyInputsBuilder:
    """vLLM's own builder of dummy pictures."""
    return LlavaDummyInputsBuilder(info)


def priors_of(kwargs: Mapping[str, Any]) -> torch.Tensor:
    """The normalized priors (pictures, prior size) among the model's arguments. Raises ValueError without them."""
    priors = kwargs.get(PRIORS)
    if not isinstance(priors, torch.Tensor) or priors.ndim != 2:
        raise ValueError(
            "pictures came to EmoLA without a row of facial_priors each: llava_faba.vllm_plugin makes them."
        )
    return priors
