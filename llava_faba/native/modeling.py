"""The native model: transformers' LLaVA whose every image brings one more token, made from its facial prior."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlavaForConditionalGeneration, LlavaModel

from llava_faba.emola import anyres, online
from llava_faba.emola.normalization import PriorNormalizer
from llava_faba.emola.projector import projector_depth
from llava_faba.errors import CheckpointError, PriorError
from llava_faba.experts import PriorExpert, PriorResult
from llava_faba.native.checking import WholeFolder
from llava_faba.native.configuration import EmolaConfig
from llava_faba.native.shared_experts import shared_expert


def projected_layers(module: torch.nn.Module, kind: str, size: int, hidden: int) -> int:
    """Give a projector of this ``kind`` its layers ``linear_1`` ...; returns how many. Raises CheckpointError."""
    depth = projector_depth(kind)
    if depth == 0 and size != hidden:
        raise CheckpointError(
            f"config.json: facial_prior_projector_type 'identity' needs priors of {hidden} numbers, not {size}."
        )
    for number in range(1, depth + 1):
        setattr(module, f"linear_{number}", torch.nn.Linear(size if number == 1 else hidden, hidden))
    return depth


class PriorProjector(torch.nn.Module):
    """Priors (n, prior size) to embeddings (n, hidden): ``linear_1`` ... ``linear_N`` with GELU between them."""

    def __init__(self, config: EmolaConfig) -> None:
        super().__init__()
        size, hidden = config.landmark_feature_hidden_size, config.text_config.hidden_size
        self.depth = projected_layers(self, config.facial_prior_projector_type, size, hidden)

    def forward(self, priors: torch.Tensor) -> torch.Tensor:
        for number in range(1, self.depth + 1):
            priors = getattr(self, f"linear_{number}")(priors)
            if number < self.depth:
                priors = torch.nn.functional.gelu(priors)
        return priors


class EmolaModel(LlavaModel):
    """Vision tower, language model and the two projectors."""

    config_class = EmolaConfig

    def __init__(self, config: EmolaConfig) -> None:
        super().__init__(config)
        self.prior_projector = PriorProjector(config)
        if "unpad" in config.mm_patch_merge_type:
            self.image_newline = torch.nn.Parameter(torch.zeros(config.text_config.hidden_size))
        self._normalizer: PriorNormalizer | None = None
        self.post_init()

    def encode_facial_priors(self, facial_priors: torch.Tensor) -> torch.Tensor:
        """Normalize (in float32) and project priors (n, prior size) to tokens (n, 1, hidden size)."""
        size = self.config.landmark_feature_hidden_size
        if facial_priors.ndim != 2 or facial_priors.shape[1] != size:
            raise PriorError(
                f"facial_priors must have the shape (number of images, {size}), got {tuple(facial_priors.shape)}."
            )
        if self.config.facial_prior_normalization != "none" and facial_priors.dtype in (torch.bfloat16, torch.float16):
            raise PriorError(
                f"facial_priors came as {facial_priors.dtype}, which rounds away the small movements that "
                f"'{self.config.facial_prior_normalization}' would make large; pass float32, whatever the model's type."
            )
        if self._normalizer is None:
            self._normalizer = PriorNormalizer.from_config(self.config, size)
        normalized = self._normalizer(facial_priors)
        weight = next(self.prior_projector.parameters(), None)
        if weight is not None:
            normalized = normalized.to(device=weight.device, dtype=weight.dtype)
        return self.prior_projector(normalized).unsqueeze(1)

    def get_image_features(
        self,
        pixel_values: torch.Tensor,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        image_sizes: torch.Tensor | None = None,
        facial_priors: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """The features of each image with its prior's token behind them, in ``pooler_output``.

        ``pixel_values``: (n, 3, S, S), or for LLaVA-1.6 (n, crops, 3, S, S) with ``image_sizes`` (n, 2), (height,
        width). ``facial_priors``: float (n, prior size); left out, they are computed from the pictures.
        """
        if facial_priors is None:
            facial_priors = torch.from_numpy(self.compute_facial_priors(pixel_values, image_sizes).features)
        if len(facial_priors) != len(pixel_values):
            raise PriorError(
                f"facial_priors has {len(facial_priors)} rows for {len(pixel_values)} images; it needs one row per "
                "image."
            )
        counts = self._crop_counts(pixel_values, image_sizes)
        squares = pixel_values
        if counts is not None:
            squares = torch.cat([row[:count] for row, count in zip(pixel_values, counts, strict=True)])
        outputs = super().get_image_features(
            squares.to(dtype=self.vision_tower.dtype),
            vision_feature_layer=vision_feature_layer,
            vision_feature_select_strategy=vision_feature_select_strategy,
            **kwargs,
        )
        images = list(outputs.pooler_output)
        if counts is not None:
            assert image_sizes is not None
            images = self._merged(images, counts, image_sizes)
        tokens = self.encode_facial_priors(facial_priors)
        outputs.pooler_output = [
            torch.cat((image, token.to(image))) for image, token in zip(images, tokens, strict=True)
        ]
        return outputs

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        image_sizes: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, Any] | None = None,
        facial_priors: torch.Tensor | None = None,
        **kwargs: Any,  # the cache among them: its name depends on the version of transformers
    ) -> Any:
        mm_encoder_outputs = dict(mm_encoder_outputs or {})
        if pixel_values is not None:
            if mm_encoder_outputs.get("image") is not None:
                raise ValueError("pixel_values and mm_encoder_outputs were both given; one of them must be left out.")
            mm_encoder_outputs["image"] = self.get_image_features(
                pixel_values,
                vision_feature_layer=vision_feature_layer,
                vision_feature_select_strategy=vision_feature_select_strategy,
                image_sizes=image_sizes,
                facial_priors=facial_priors,
                return_dict=True,
            )
        elif facial_priors is not None and mm_encoder_outputs.get("image") is None:
            raise PriorError("facial_priors were given without images: a prior stands behind its image's tokens.")
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )

    def compute_facial_priors(self, pixel_values: torch.Tensor, image_sizes: torch.Tensor | None = None) -> PriorResult:
        """Priors of preprocessed pictures, computed by the expert that the config names.

        ``image_sizes`` (n, 2), (height, width) of each original, undoes padding and cropping; without it the originals
        are taken to be square. Raises ExpertError when the expert is not installed, has no weights, or
        (``precomputed``) cannot compute.
        """
        expert, config = self.facial_prior_expert(), self.config
        sizes = None if image_sizes is None else [(int(wide), int(high)) for high, wide in image_sizes]
        squares = online.to_squares(pixel_values, config.image_mean, config.image_std, sizes, config.image_aspect_ratio)
        return online.compute_priors(expert, squares)

    def facial_prior_expert(self) -> PriorExpert:
        """The expert named in the config, made on first use and shared by all models of this process."""
        config = self.config
        return shared_expert(
            config.facial_prior_expert, config.facial_prior_expert_settings, config.landmark_feature_hidden_size
        )

    def _crop_counts(self, pixel_values: torch.Tensor, image_sizes: torch.Tensor | None) -> list[int] | None:
        """How many of each row's crops are real; None for plain pictures (n, 3, S, S)."""
        if pixel_values.ndim != 5:
            return None
        if image_sizes is None:
            raise PriorError("pictures in crops (LLaVA-1.6) need image_sizes, (height, width) of each original.")
        side = self.config.vision_config.image_size
        pinpoints = self.config.image_grid_pinpoints or []
        return [anyres.crop_count((int(high), int(wide)), pinpoints, side) for high, wide in image_sizes]

    def _merged(self, images: list[torch.Tensor], counts: list[int], image_sizes: torch.Tensor) -> list[torch.Tensor]:
        features, start = [], 0
        for count, (high, wide) in zip(counts, image_sizes, strict=True):
            features.append(
                anyres.merged(
                    torch.stack(images[start : start + count]),
                    (int(high), int(wide)),
                    self.config.image_grid_pinpoints or [],
                    self.config.vision_config.image_size,
                    self.config.mm_patch_merge_type,
                    getattr(self, "image_newline", None),
                )
            )
            start += count
        return features


class EmolaForConditionalGeneration(WholeFolder, LlavaForConditionalGeneration):
    """EmoLA on LLaVA-1.5 and 1.6 (LLaMA), as a transformers model.

    ``facial_priors`` in ``forward`` and ``generate``: float tensor (number of images, prior size), one row per image
    in the order of the images; a row of zeros means "no face". Left out, the model computes them with the expert that
    its config names, from ``pixel_values`` (and ``image_sizes``, for pictures that were not square).
    ``input_ids`` holds ``config.image_token_id`` once for each patch and once for the prior.
    The logits of the placeholder, and of rows that stand for no token, are the lowest number there is.
    """

    config_class = EmolaConfig

    def __init__(self, config: EmolaConfig) -> None:
        super().__init__(config)
        self.model = EmolaModel(config)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        labels: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        image_sizes: torch.Tensor | None = None,
        mm_encoder_outputs: dict[str, Any] | None = None,
        facial_priors: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        outputs = super().forward(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            vision_feature_layer=vision_feature_layer,
            vision_feature_select_strategy=vision_feature_select_strategy,
            logits_to_keep=logits_to_keep,
            image_sizes=image_sizes,
            mm_encoder_outputs=mm_encoder_outputs,
            facial_priors=facial_priors,
            **kwargs,
        )
        outputs.logits = self._without_placeholder(outputs.logits)
        if labels is not None:
            size = self.config.text_config.vocab_size
            outputs.loss = self.loss_function(logits=outputs.logits, labels=labels, vocab_size=size, **kwargs)
        return outputs

    def get_image_features(
        self,
        pixel_values: torch.Tensor,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        image_sizes: torch.Tensor | None = None,
        facial_priors: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        return self.model.get_image_features(
            pixel_values,
            vision_feature_layer=vision_feature_layer,
            vision_feature_select_strategy=vision_feature_select_strategy,
            image_sizes=image_sizes,
            facial_priors=facial_priors,
            **kwargs,
        )

    def compute_facial_priors(self, pixel_values: torch.Tensor, image_sizes: torch.Tensor | None = None) -> PriorResult:
        """Priors of preprocessed pictures by the expert that the config names; see ``EmolaModel.get_image_features``.

        Raises ExpertError when the expert is not installed, has no weights, or (``precomputed``) cannot compute.
        """
        return self.model.compute_facial_priors(pixel_values, image_sizes)

    def facial_prior_expert(self) -> PriorExpert:
        """The expert named in the config, made on first use."""
        return self.model.facial_prior_expert()

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> Any:
        """As in transformers; tokens that were added to the tokenizer are no longer masked."""
        result = super().resize_token_embeddings(*args, **kwargs)
        if args or kwargs:
            self.config.tokenizer_size = None
        return result

    def _without_placeholder(self, logits: torch.Tensor) -> torch.Tensor:
        """The placeholder, and rows of the embeddings that no token stands for, are never an answer."""
        columns = torch.arange(logits.shape[-1], device=logits.device)
        masked = columns == self.config.image_token_id
        if self.config.tokenizer_size is not None:
            masked |= columns >= self.config.tokenizer_size
        return logits.masked_fill(masked, torch.finfo(logits.dtype).min)
