"""``attach``: a facial prior for a vision-language model of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faba_bench.files.jsonfiles import read_object
from PIL import Image
from tokenizers import AddedToken
from transformers import AutoProcessor, ProcessorMixin
from transformers.image_utils import make_flat_list_of_images

from llava_faba.emola.projector import projector_depth
from llava_faba.errors import CheckpointError, PriorError, UserError
from llava_faba.native.attached import FacialPriorConfig, FacialPriorModel, PriorMlp
from llava_faba.native.pictures import PriorsOfPictures
from llava_faba.native.processing import EmolaFeatures
from llava_faba.native.shared_experts import shared_expert
from llava_faba.vetting.native import vet_folder

PRIOR_TOKEN = "<facial_prior>"
BASE = "base_processor"  # the subfolder that holds the model's own processor
SUPPORTED = ("llava", "llava_onevision", "qwen2_5_vl", "qwen3_vl", "smolvlm", "gemma3")
"""model_type of the architectures that tests/native/test_attach.py runs."""


class FacialPriorProcessor(PriorsOfPictures, ProcessorMixin):
    """A vision-language model's own processor (``base``), and the prior of each picture.

    As ``EmolaProcessor``: ``facial_priors=`` gives them, left out they are computed, ``False`` leaves them and their
    placeholders out, which is the bare model's input.
    """

    def __init__(self, base: Any, image_token: str, facial_prior: dict[str, Any]) -> None:
        self.base, self.image_token, self.facial_prior = base, image_token, facial_prior
        self.tokenizer, self.image_processor = base.tokenizer, base.image_processor
        self.chat_template = base.chat_template

    @classmethod
    def get_attributes(cls) -> list[str]:
        return []

    def __call__(self, images: Any = None, text: Any = None, *, facial_priors: Any = None, **kwargs: Any) -> Any:
        if images is None or facial_priors is False:
            if images is None and facial_priors is not None and facial_priors is not False:
                raise PriorError("facial_priors were given without images: a prior stands behind its image's tokens.")
            return self.base(images=images, text=text, **kwargs)
        pictures = make_flat_list_of_images(self.image_processor.fetch_images(images))
        priors, statuses = self.priors_and_statuses(facial_priors, pictures)
        texts = [text] if isinstance(text, str) else list(text)
        marked = [one.replace(self.image_token, self.image_token + PRIOR_TOKEN) for one in texts]
        places = sum(one.count(PRIOR_TOKEN) for one in marked)
        if places != len(pictures):
            raise PriorError(
                f"the text has {places} places for priors ('{self.image_token}') and {len(pictures)} pictures."
            )
        features = EmolaFeatures(self.base(images=images, text=marked, **kwargs).data)
        tensors = kwargs.get("return_tensors") == "pt"
        features["facial_priors"] = torch.from_numpy(priors) if tensors else priors
        features.facial_prior_status = statuses
        return features

    def apply_chat_template(self, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        """The base's, as text; ``tokenize`` is not taken, for the pictures go along with the call."""
        if kwargs.get("tokenize"):
            raise UserError("apply_chat_template gives text here; call the processor with it and the pictures.")
        return self.base.apply_chat_template(conversation, *args, **kwargs)

    def decode(self, *args: Any, **kwargs: Any) -> Any:
        return self.tokenizer.decode(*args, **kwargs)

    def batch_decode(self, *args: Any, **kwargs: Any) -> Any:
        return self.tokenizer.batch_decode(*args, **kwargs)

    @property
    def model_input_names(self) -> list[str]:
        return [*dict.fromkeys([*self.base.model_input_names, "facial_priors"])]

    def to_dict(self) -> dict[str, Any]:
        return {
            "processor_class": type(self).__name__,
            "image_token": self.image_token,
            "facial_prior": self.facial_prior,
        }

    def save_pretrained(self, save_directory: str | Path, *_args: Any, **_kwargs: Any) -> None:
        folder = Path(save_directory)
        self.base.save_pretrained(folder / BASE)
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"
        (folder / "processor_config.json").write_text(text, encoding="utf-8")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, *_args: Any, **_kwargs: Any) -> Any:
        folder = Path(pretrained_model_name_or_path)
        path = folder / "processor_config.json"
        vet_folder(folder)
        vet_folder(folder / BASE)
        try:
            said = read_object(path, error=CheckpointError)
            return cls(AutoProcessor.from_pretrained(folder / BASE), said["image_token"], said["facial_prior"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: no processor that 'attach' made and saved: {error}") from error


def attach(
    model: Any,
    processor: Any,
    *,
    expert: str,
    settings: dict[str, Any] | None = None,
    size: int | None = None,
    normalization: str = "none",
    statistics: dict[str, Any] | None = None,
    projector: str = "mlp2x_gelu",
) -> tuple[FacialPriorModel, FacialPriorProcessor]:
    """Give a vision-language model a facial prior: one token behind each picture, from a new projector.

    ``model``, ``processor``: of an ``AutoModelForImageTextToText`` whose kind is in ``SUPPORTED``; both go on existing
    inside of what is returned, unchanged but for one more token of the tokenizer. ``expert``, ``settings``: what makes
    the priors. ``size``: numbers in a prior, for "precomputed". ``normalization``, ``statistics``: see
    ``emola/normalization.py``; ``fit_statistics`` makes the latter of a store's priors.
    The projector's weights are new: train them (PEFT: ``modules_to_save=["prior_projector"]``).

    Raises UserError for a model in which the places were not found, naming what was looked for.
    """
    image_token = _checked(model, processor)
    described: dict[str, Any] = {"expert": expert, "settings": settings or {}, "size": size or 0}
    if size is None:
        from llava_faba.experts import create_expert

        described["size"] = int(create_expert(expert, settings or {}).size)
    if not described["size"] or projector_depth(projector) == 0:
        raise UserError("attach needs the prior's size (size=) and a projector with layers ('linear', 'mlp2x_gelu').")
    sizes = shared_expert(expert, settings, described["size"]).sizes  # an unknown one ends here
    tokenizer = processor.tokenizer
    tokenizer.add_tokens([AddedToken(PRIOR_TOKEN, special=True, normalized=False)], special_tokens=True)
    embeddings = model.get_input_embeddings()
    config = FacialPriorConfig(
        base_config=model.config.to_dict(),
        prior_token_id=int(tokenizer.convert_tokens_to_ids(PRIOR_TOKEN)),
        hidden_size=int(embeddings.weight.shape[1]),
        landmark_feature_hidden_size=described["size"],
        facial_prior_expert=expert,
        facial_prior_expert_settings=settings or {},
        facial_prior_sizes=sizes if len(sizes) > 1 else None,
        facial_prior_projector_type=projector,
        facial_prior_normalization=normalization,
        facial_prior_statistics=statistics,
    )
    with torch.device("meta"):
        attached = FacialPriorModel(config)
    attached.vlm = model
    attached.generation_config = model.generation_config
    weight = embeddings.weight
    attached.prior_projector = PriorMlp(projector, described["size"], config.hidden_size).to(
        weight.device, weight.dtype
    )
    attached.train(model.training)
    described |= {"normalization": normalization, "statistics": statistics}
    return attached, FacialPriorProcessor(processor, image_token, described)


def _checked(model: Any, processor: Any) -> str:
    """The text that stands for a picture in a prompt. Raises UserError with all that was looked for and not found."""
    kind = str(getattr(model.config, "model_type", None))
    image_id = getattr(model.config, "image_token_id", None)
    embeddings = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None
    looked = {
        f"a kind that was tested ({', '.join(SUPPORTED)}), this is '{kind}'": kind in SUPPORTED,
        "config.image_token_id": image_id is not None,
        "get_input_embeddings(), a torch.nn.Embedding": isinstance(embeddings, torch.nn.Embedding),
        "processor.tokenizer and processor.image_processor": all(
            hasattr(processor, name) for name in ("tokenizer", "image_processor")
        ),
    }
    image_token = None
    if image_id is not None and all(looked.values()):
        image_token = _image_token(processor, int(image_id))
    looked["a text for a picture (processor.boi_token, processor.image_token)"] = image_token is not None
    if image_token is None:
        listed = "; ".join(f"{what}: {'found' if found else 'not found'}" for what, found in looked.items())
        raise UserError(f"no facial prior can be attached to {type(model).__name__}. Looked for {listed}.")
    return image_token


def _image_token(processor: Any, image_id: int) -> str | None:
    """What the processor replaces by a picture's placeholders, found by trying."""
    grey = Image.fromarray(np.full((112, 112, 3), 127, dtype=np.uint8))
    for name in ("boi_token", "image_token"):
        text = getattr(processor, name, None)
        if not isinstance(text, str):
            continue
        try:
            ids = processor(images=[grey], text=[f"{text} ?"])["input_ids"][0]
        except Exception:  # each processor has its own kinds of refusal
            continue
        if list(ids).count(image_id) > 1:
            return text
    return None
