"""EmoLA's model class: LLaVA-LLaMA whose every image brings one more token, made from its facial prior.

Nothing of a request is kept on the model: priors travel with the images through LLaVA's own calls, so that several
threads can use one model (LLaVA's model worker does).
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from llava.constants import IMAGE_TOKEN_INDEX
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM

from llava_faba.building import building_modules
from llava_faba.emola import online
from llava_faba.emola.normalization import PriorNormalizer
from llava_faba.emola.tokens import attends, nearness
from llava_faba.errors import PriorError
from llava_faba.experts import PriorExpert, PriorResult, create_expert
from llava_faba.model.config import EmolaConfig, expert_name, has_prior, prior_size
from llava_faba.model.projector import PROJECTOR_NAME, build_prior_projector

Images = torch.Tensor | list[torch.Tensor]


@dataclass(frozen=True)
class _ImagesWithPriors:
    """Images on their way through an upstream method that knows nothing of priors."""

    images: Images
    facial_priors: torch.Tensor


@dataclass(frozen=True)
class _EncodedImages:
    """One feature sequence per image, ready to take the place of its image token.

    ``ndim`` is what LLaVA asks of a plain image batch.
    """

    features: list[torch.Tensor]
    ndim: int = 4


class EmolaLlamaForCausalLM(LlavaLlamaForCausalLM):
    """LLaVA-LLaMA with a facial prior token behind each image's patch tokens (paper section 3.2).

    ``facial_priors`` in ``forward`` and ``generate``: float tensor (number of images, prior size), one row per image
    in the order of the image tokens; a row of zeros means "no face". Left out, the model computes it with the expert
    that its config names. A model whose config has no prior refuses ``facial_priors``.
    """

    config_class = EmolaConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._expert_lock = threading.Lock()
        self._expert: PriorExpert | None = None
        self._normalizer: PriorNormalizer | None = None
        if has_prior(config):
            setattr(self.model, PROJECTOR_NAME, build_prior_projector(config))

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        model = super().from_pretrained(*args, **kwargs)
        _materialize_projector(model[0] if isinstance(model, tuple) else model)
        return model

    def forward(self, *args: Any, images: Any = None, facial_priors: torch.Tensor | None = None, **kwargs: Any) -> Any:
        return super().forward(*args, images=self.with_priors(images, facial_priors), **kwargs)

    # transformers reads the signature to tell which arguments 'generate' may pass on.
    forward.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            *inspect.signature(LlavaLlamaForCausalLM.forward).parameters.values(),
            inspect.Parameter("facial_priors", inspect.Parameter.KEYWORD_ONLY, default=None),
        ]
    )

    @torch.no_grad()
    def generate(
        self,
        inputs: torch.Tensor | None = None,
        images: Any = None,
        *args: Any,
        facial_priors: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        if inputs is None:
            inputs = kwargs.pop("input_ids", None)
        return super().generate(inputs, self.with_priors(images, facial_priors), *args, **kwargs)

    def compute_facial_priors(self, images: Images, image_sizes: Sequence[Any] | None = None) -> PriorResult:
        """Priors of preprocessed images, computed by the expert that the config names.

        ``images``: (batch, 3, S, S), (batch, crops, 3, S, S), or a list of (3, S, S) and (crops, 3, S, S), as LLaVA's
        ``process_images`` returns them; ``image_sizes``: (width, height) of each original image, needed to undo
        padding and cropping of pictures that are not square.

        Raises ExpertError when the expert is not installed, has no weights, or (``precomputed``) cannot compute.
        """
        expert = self.facial_prior_expert()
        processor = self.get_vision_tower().image_processor
        layout = getattr(self.config, "image_aspect_ratio", None)
        squares = online.to_squares(images, processor.image_mean, processor.image_std, image_sizes, layout)
        return online.compute_priors(expert, squares)

    def facial_prior_expert(self) -> PriorExpert:
        """The expert named in the config, made on first use."""
        with building_modules(), self._expert_lock:
            if self._expert is None:
                settings = getattr(self.config, "facial_prior_expert_settings", None) or {}
                self._expert = create_expert(expert_name(self.config), settings, size=prior_size(self.config))
            return self._expert

    def encode_facial_priors(self, facial_priors: torch.Tensor) -> torch.Tensor:
        """Normalize and project priors (n, prior size) to tokens (n, tokens, hidden size), one for "global".

        A model whose picture's tokens attend to the prior has none: (n, 0, hidden size).
        """
        if attends(self.config):
            return torch.zeros((len(facial_priors), 0, self.config.hidden_size), device=facial_priors.device)
        tokens = self._projector()(self._normalized(facial_priors))
        return tokens if tokens.ndim == 3 else tokens.unsqueeze(1)

    def _projector(self) -> Any:
        return getattr(self.get_model(), PROJECTOR_NAME)

    def _normalized(self, facial_priors: torch.Tensor) -> torch.Tensor:
        """Priors as the projector takes them, on its device and in its type."""
        size = prior_size(self.config)
        if facial_priors.ndim != 2 or facial_priors.shape[1] != size:
            raise PriorError(
                f"facial_priors must have the shape (number of images, {size}), got {tuple(facial_priors.shape)}."
            )
        if self._normalizer is None:
            self._normalizer = PriorNormalizer.from_config(self.config, size)
        normalized = self._normalizer(facial_priors)
        weight = next(self._projector().parameters(), None)
        if weight is not None:
            normalized = normalized.to(device=weight.device, dtype=weight.dtype)
        return normalized

    def _attended(self, sequences: list[torch.Tensor], facial_priors: torch.Tensor) -> list[torch.Tensor]:
        """Pictures' tokens, each (tokens, hidden size), after they have attended to their priors."""
        normalized, projector = self._normalized(facial_priors), self._projector()
        found = (facial_priors != 0).any(dim=-1).to(normalized.device)
        groups = (
            [slice(None)]
            if len({len(one) for one in sequences}) <= 1
            else [slice(row, row + 1) for row in range(len(sequences))]
        )  # crops of LLaVA-1.6: each picture has its own number of tokens
        done: list[torch.Tensor] = []
        for rows in groups:
            pictures = torch.stack(sequences[rows])
            near = nearness(self.config, facial_priors[rows], pictures.shape[1])
            near = None if near is None else near.to(normalized.device)
            changed = projector(pictures.to(normalized), normalized[rows], found[rows], near)
            done += list(changed.to(pictures))
        return done

    def encode_images(self, images: Any) -> Any:
        if isinstance(images, _EncodedImages):
            return images.features
        return super().encode_images(images)

    def prepare_inputs_labels_for_multimodal(
        self,
        input_ids: Any,
        position_ids: Any,
        attention_mask: Any,
        past_key_values: Any,
        labels: Any,
        images: Any,
        image_sizes: Any = None,
    ) -> Any:
        priors = None
        if isinstance(images, _ImagesWithPriors):
            images, priors = images.images, images.facial_priors
        decoding = input_ids is not None and input_ids.shape[1] == 1
        if has_prior(self.config) and images is not None and not decoding:
            if priors is None:
                priors = torch.from_numpy(self.compute_facial_priors(images, image_sizes).features)
            images = self._encode_with_priors(images, priors, image_sizes)
        return super().prepare_inputs_labels_for_multimodal(
            input_ids, position_ids, attention_mask, past_key_values, labels, images, image_sizes
        )

    def with_priors(self, images: Any, facial_priors: torch.Tensor | None) -> Any:
        """What ``forward``, ``generate`` and ``prepare_inputs_labels_for_multimodal`` take as images with priors."""
        if facial_priors is None:
            return images
        if images is None:
            raise PriorError("facial_priors were given without images: a prior stands behind its image's tokens.")
        if not has_prior(self.config):
            raise PriorError("facial_priors were given to a model that has no facial prior projector.")
        if len(facial_priors) != len(images):
            raise PriorError(
                f"facial_priors has {len(facial_priors)} rows for {len(images)} images; it needs one row per image."
            )
        return _ImagesWithPriors(images, facial_priors)

    def _encode_with_priors(self, images: Images, facial_priors: torch.Tensor, image_sizes: Any) -> _EncodedImages:
        if isinstance(images, list) or images.ndim == 5:
            sequences = self._merged_features(images, image_sizes)
        else:
            sequences = list(super().encode_images(images))
        if attends(self.config):
            return _EncodedImages(self._attended(sequences, facial_priors))
        tokens = self.encode_facial_priors(facial_priors)
        return _EncodedImages(
            [
                torch.cat((sequence, token.to(device=sequence.device, dtype=sequence.dtype)))
                for sequence, token in zip(sequences, tokens, strict=True)
            ]
        )

    def _merged_features(self, images: Images, image_sizes: Any) -> list[torch.Tensor]:
        """Each image's features as LLaVA merges its crops, whatever the merge type.

        LLaVA merges inside the method that also builds the text's embeddings. Asked for prompts that are an image
        token and nothing else (and one masked position, for a prompt of length one means decoding to it), it returns
        the merged features themselves.
        """
        count = len(images)
        input_ids = torch.tensor([[IMAGE_TOKEN_INDEX, 0]], device=self.device).repeat(count, 1)
        only_the_image = torch.tensor([[True, False]], device=self.device).repeat(count, 1)
        _, _, mask, _, embeddings, _ = super().prepare_inputs_labels_for_multimodal(
            input_ids, None, only_the_image, None, None, images, image_sizes
        )
        return [row[keep] for row, keep in zip(embeddings, mask.bool(), strict=True)]


def _materialize_projector(model: Any) -> None:
    """Give a projector that the loaded files did not hold real memory; its weights come from other files.

    With low_cpu_mem_usage, which LLaVA's builder always asks for, transformers 4.37 takes meta tensors of equal size
    for one shared tensor, and leaves those of them that are missing from the files without memory.
    """
    projector = getattr(model.get_model(), PROJECTOR_NAME, None)
    if projector is not None and any(parameter.is_meta for parameter in projector.parameters()):
        fresh = build_prior_projector(model.config).to(device=model.device, dtype=model.dtype)
        setattr(model.get_model(), PROJECTOR_NAME, fresh)
