"""From pictures and questions to answers: prompts, batches and greedy decoding."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from llava.constants import (
    DEFAULT_IM_END_TOKEN,
    DEFAULT_IM_START_TOKEN,
    DEFAULT_IMAGE_TOKEN,
    IMAGE_TOKEN_INDEX,
)
from llava.conversation import conv_templates
from llava.mm_utils import process_images, tokenizer_image_token

from llava_faba.errors import UserError, nearest
from llava_faba.inference.predict import DEFAULT_CONVERSATION, Prediction
from llava_faba.model.config import has_prior


def prompt_ids(question: str, tokenizer: Any, config: Any, conversation: str = DEFAULT_CONVERSATION) -> list[int]:
    """Token ids of a one-turn conversation about one image, the image as -200; as LLaVA's CLI builds it.

    Raises UserError for an unknown conversation template.
    """
    if conversation not in conv_templates:
        raise UserError(f"no conversation template is called '{conversation}'.{nearest(conversation, conv_templates)}")
    image = DEFAULT_IMAGE_TOKEN
    if getattr(config, "mm_use_im_start_end", False):
        image = DEFAULT_IM_START_TOKEN + image + DEFAULT_IM_END_TOKEN
    template = conv_templates[conversation].copy()
    template.append_message(template.roles[0], f"{image}\n{question}")
    template.append_message(template.roles[1], None)
    return tokenizer_image_token(template.get_prompt(), tokenizer, IMAGE_TOKEN_INDEX)


def answer_one(loaded: tuple[Any, Any, Any, int], picture: Any, question: str, **options: Any) -> Prediction:
    """One question about one PIL image; the prior is computed by the model's expert."""
    _, model, processor, _ = loaded
    images = preprocess([picture], processor, model)
    if not has_prior(model.config):
        text = answer_batch(loaded, images, [question], None, image_sizes=[picture.size], **options)[0]
        return Prediction(text, None, "no_prior")
    result = model.compute_facial_priors(images, [picture.size])
    priors = torch.from_numpy(result.features)
    text = answer_batch(loaded, images, [question], priors, image_sizes=[picture.size], **options)[0]
    return Prediction(text, result.landmarks[0] if result.landmarks else None, result.statuses[0].value)


def preprocess(pictures: Sequence[Any], processor: Any, model: Any) -> Any:
    """PIL images to what the model takes, on its device and in its dtype (LLaVA's ``process_images``)."""
    images = process_images(list(pictures), processor, model.config)
    if isinstance(images, list):
        return [image.to(model.device, dtype=model.dtype) for image in images]
    return images.to(model.device, dtype=model.dtype)


def answer_batch(
    loaded: tuple[Any, Any, Any, int],
    images: Any,
    questions: Sequence[str],
    facial_priors: torch.Tensor | None,
    *,
    image_sizes: Any = None,
    conversation: str = DEFAULT_CONVERSATION,
    max_new_tokens: int = 512,
) -> list[str]:
    """Greedy answers to one question per image.

    ``facial_priors``: float (batch, prior size), or None to let the model compute them (or for plain LLaVA).
    """
    tokenizer, model, _, _ = loaded
    prompts = [prompt_ids(question, tokenizer, model.config, conversation) for question in questions]
    input_ids, attention_mask = _left_padded(prompts, tokenizer, model)
    extra = {} if facial_priors is None else {"facial_priors": facial_priors.to(model.device)}
    with _left_padding(model) if len(questions) > 1 else contextlib.nullcontext():
        output = model.generate(
            input_ids,
            images=images,
            image_sizes=image_sizes,
            attention_mask=attention_mask,
            do_sample=False,
            max_new_tokens=max_new_tokens,
            use_cache=True,
            pad_token_id=_padding_id(tokenizer),
            **extra,
        )
    texts = tokenizer.batch_decode(output, skip_special_tokens=True)
    return [text.strip() for text in texts]


@contextlib.contextmanager
def _left_padding(model: Any) -> Iterator[None]:
    """LLaVA pads embeddings on the side that the config names; only on the left do all answers start in one place.

    The config belongs to the model, so batches of several questions are for one thread at a time.
    """
    side = getattr(model.config, "tokenizer_padding_side", "right")
    model.config.tokenizer_padding_side = "left"
    try:
        yield
    finally:
        model.config.tokenizer_padding_side = side


def _left_padded(prompts: list[list[int]], tokenizer: Any, model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(prompt) for prompt in prompts)
    rows = [[_padding_id(tokenizer)] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return (
        torch.tensor(rows, device=model.device),
        torch.tensor(mask, device=model.device, dtype=torch.bool),
    )


def _padding_id(tokenizer: Any) -> int:
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
