"""Pictures, priors and text to what the native model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from faba_bench.files.jsonfiles import read_object
from transformers import BatchFeature, LlavaProcessor
from transformers.image_utils import make_flat_list_of_images
from transformers.processing_utils import MultiModalData

from llava_faba.emola import anyres
from llava_faba.errors import CheckpointError, PriorError
from llava_faba.native.checking import check_colours
from llava_faba.native.pictures import PriorsOfPictures
from llava_faba.vetting.native import vet_folder


class EmolaFeatures(BatchFeature):
    """What the processor returns. ``facial_prior_status``: a list with a word for each picture; an attribute and no
    key, for ``generate`` refuses what no model takes."""

    facial_prior_status: list[str]

    def to(self, *args: Any, **kwargs: Any) -> EmolaFeatures:
        """As ``BatchFeature.to``; priors go to the device, and stay float32 until they are normalized.

        Landmarks are small movements on large constants: in bfloat16 what matters of them is rounded away.
        """
        priors = self.data.pop("facial_priors", None)
        super().to(*args, **kwargs)
        if isinstance(priors, torch.Tensor):
            moved = BatchFeature({"facial_priors": priors}).to(*args, **kwargs)["facial_priors"]
            priors = priors.to(moved.device)
        if priors is not None:
            self.data["facial_priors"] = priors
        return self


class EmolaProcessor(PriorsOfPictures, LlavaProcessor):
    """LLaVA's processor with one more placeholder per image, and the prior of each.

    ``processor(images=..., text=...)`` returns, beside LLaVA's, ``facial_priors`` float32 (images, prior size), raw
    (the model normalizes them in float32). The result's attribute ``facial_prior_status`` is a list of "found",
    "not_found", "several_faces", "unreadable", or "given" for those that came with the call. A picture without a face
    has a prior of zeros.

    ``facial_priors=...`` in the call: priors that are known, (images, prior size), one row per image; ``False`` leaves
    them out (for a trainer that passes on only what it knows; the model then computes them). Otherwise the expert that
    the checkpoint names computes them from the pictures; ``precomputed`` cannot, and is an error.

    ``leaves_priors_to_the_model``: set to True, priors are left out of every call that gives none, as with ``False``:
    for trainers that refuse keys which they do not know (TRL's GRPO).

    ``facial_prior``: what made the priors, a dictionary with ``expert``, ``version``, ``settings``, ``size``,
    ``normalization`` and ``statistics``.
    """

    leaves_priors_to_the_model: bool = False

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        patch_size: int | None = None,
        vision_feature_select_strategy: str | None = None,
        chat_template: str | None = None,
        image_token: str = "<image>",
        num_additional_image_tokens: int = 2,  # CLIP's CLS, which "default" takes off again, and the prior
        facial_prior: dict[str, Any] | None = None,
        mm_patch_merge_type: str = "flat",
        **kwargs: Any,
    ) -> None:
        self.facial_prior = facial_prior
        self.mm_patch_merge_type = mm_patch_merge_type
        super().__init__(
            image_processor=image_processor,
            tokenizer=tokenizer,
            patch_size=patch_size,
            vision_feature_select_strategy=vision_feature_select_strategy,
            chat_template=chat_template,
            image_token=image_token,
            num_additional_image_tokens=num_additional_image_tokens,
            **kwargs,
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers. Raises CheckpointError where the folder's config.json says that the model has seen
        pictures with other colours than this processor makes."""
        vet_folder(pretrained_model_name_or_path)
        found = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        path = Path(pretrained_model_name_or_path, "config.json")
        if path.is_file():
            check_colours(vars(found.image_processor), read_object(path, error=CheckpointError), str(path))
        return found

    def __call__(
        self, images: Any = None, text: Any = None, *args: Any, facial_priors: Any = None, **kwargs: Any
    ) -> EmolaFeatures:
        features = EmolaFeatures(super().__call__(images, text, *args, **kwargs).data)
        if images is None:
            if facial_priors is not None and facial_priors is not False:
                raise PriorError("facial_priors were given without images: a prior stands behind its image's tokens.")
            return features
        if facial_priors is False or (facial_priors is None and self.leaves_priors_to_the_model):
            return features
        pictures = make_flat_list_of_images(self.image_processor.fetch_images(images))
        priors, statuses = self.priors_and_statuses(facial_priors, pictures)
        wanted = kwargs.get("return_tensors") or kwargs.get("common_kwargs", {}).get("return_tensors")
        features["facial_priors"] = torch.from_numpy(priors) if wanted == "pt" else priors
        features.facial_prior_status = statuses
        return features

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        size = tuple(int(edge) for edge in image_inputs["image_sizes"][image_idx])
        return self.image_token * self.tokens_of(size)

    def tokens_of(self, size: tuple[int, ...]) -> int:
        """How many placeholders a picture of (height, width) becomes, the prior's included."""
        side, patch = self.image_processor.crop_size["height"], int(self.patch_size)
        more = self.num_additional_image_tokens - (self.vision_feature_select_strategy == "default")
        pinpoints = getattr(self.image_processor, "image_grid_pinpoints", None)
        if pinpoints is None:
            return (side // patch) ** 2 + more
        return anyres.token_count((size[0], size[1]), pinpoints, side, side // patch, self.mm_patch_merge_type) + more

    def _get_num_multimodal_tokens(self, image_sizes: Any = None, **kwargs: Any) -> MultiModalData:
        counts = [self.tokens_of(tuple(size)) for size in image_sizes or []]
        return MultiModalData(num_image_tokens=counts, num_image_patches=[1] * len(counts))

    def to_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        values: dict[str, Any] = super().to_dict(*args, **kwargs)
        values.pop("leaves_priors_to_the_model", None)  # a matter of a trainer, not of the checkpoint
        return values

    @property
    def model_input_names(self) -> list[str]:
        return [*dict.fromkeys([*super().model_input_names, "facial_priors"])]
