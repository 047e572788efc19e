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
from llava.conversation import SeparatorStyle, conv_templates
from llava.mm_utils import process_images, tokenizer_image_token
from transformers import LogitsProcessorList

from llava_faba.emola.online import priors_of_pictures
from llava_faba.errors import UserError, nearest
from llava_faba.inference.conversations import choose_template
from llava_faba.inference.engines.base import Answer
from llava_faba.inference.prediction import Prediction, box_around
from llava_faba.inference.sampling import GumbelNoise
from llava_faba.model.config import has_prior
from llava_faba.model.loaded import LoadedModel


def prompt_ids(question: str, tokenizer: Any, config: Any, conversation: str | None = None) -> list[int]:
    """Token ids of a one-turn conversation about one image, the image as -200; as LLaVA's CLI builds it.

    ``conversation``: name of the template; None: the model's own (``templates``). With 'plain' the picture alone.
    Raises UserError for an unknown conversation template, and for a question that places the image itself.
    """
    template = conversation_template(conversation or choose_template(config, None).name)
    template.append_message(template.roles[0], with_image(question, config))
    template.append_message(template.roles[1], None)
    return tokenizer_image_token(prompt_of(template), tokenizer, IMAGE_TOKEN_INDEX)


def is_plain(template: Any) -> bool:
    """Whether this is LLaVA's template of pretraining, 'plain'."""
    return template.sep_style is SeparatorStyle.PLAIN and template.sep2 is None


def prompt_of(template: Any) -> str:
    """The text before the next answer. With 'plain' the picture alone: LLaVA's training drops every question there,
    and its ``get_prompt`` would put in one that such a model has never seen.
    """
    return DEFAULT_IMAGE_TOKEN if is_plain(template) else template.get_prompt()


def conversation_template(name: str) -> Any:
    """A fresh copy of one of LLaVA's conversation templates. Raises UserError for an unknown one."""
    if name not in conv_templates:
        raise UserError(f"no conversation template is called '{name}'.{nearest(name, conv_templates)}")
    return conv_templates[name].copy()


def with_image(question: str, config: Any) -> str:
    """A question with the image's place in front, as LLaVA's CLI writes it."""
    image = DEFAULT_IMAGE_TOKEN
    if getattr(config, "mm_use_im_start_end", False):
        image = DEFAULT_IM_START_TOKEN + image + DEFAULT_IM_END_TOKEN
    return f"{image}\n{without_token(question)}"


def without_token(question: str) -> str:
    """``question``. Raises UserError where it holds ``<image>``: LLaVA would look for a second picture."""
    if DEFAULT_IMAGE_TOKEN in question:
        raise UserError(
            f"'{DEFAULT_IMAGE_TOKEN}' in the question: the picture is put before every question, so leave it out."
        )
    return question


def answer_one(
    loaded: LoadedModel | tuple[Any, Any, Any, int], picture: Any, question: str, **options: Any
) -> Prediction:
    """One question about one PIL image; the prior is computed by the model's expert."""
    _, model, processor, _ = loaded
    images = preprocess([picture], processor, model)
    if not has_prior(model.config):
        text = answer_batch(loaded, images, [question], None, image_sizes=[picture.size], **options)[0]
        return Prediction(text, None, "no_prior")
    result = priors_of_pictures(model.facial_prior_expert(), [picture])
    priors = torch.from_numpy(result.features)
    text = answer_batch(loaded, images, [question], priors, image_sizes=[picture.size], **options)[0]
    points, status = result.landmarks[0] if result.landmarks else None, result.statuses[0].value
    face = box_around(points) if status == "several_faces" else None
    return Prediction(text, points, status, face, model.facial_prior_expert().named_values(result.features[0]))


def preprocess(pictures: Sequence[Any], processor: Any, model: Any) -> Any:
    """PIL images to what the model takes, on its device and in its dtype (LLaVA's ``process_images``)."""
    return to_model(process_images(list(pictures), processor, model.config), model)


def to_model(images: Any, model: Any) -> Any:
    """What ``process_images`` returned, on the model's device and in its dtype."""
    if isinstance(images, list):
        return [image.to(model.device, dtype=model.dtype) for image in images]
    return images.to(model.device, dtype=model.dtype)


def answer_batch(
    loaded: LoadedModel | tuple[Any, Any, Any, int],
    images: Any,
    questions: Sequence[str],
    facial_priors: torch.Tensor | None,
    *,
    image_sizes: Any = None,
    conversation: str | None = None,
    max_new_tokens: int = 512,
) -> list[str]:
    """Greedy answers to one question per image.

    ``facial_priors``: float (batch, prior size), or None to let the model compute them (or for plain LLaVA).
    """
    answers, _ = generate_batch(
        loaded,
        images,
        questions,
        facial_priors,
        image_sizes=image_sizes,
        conversation=conversation,
        max_new_tokens=max_new_tokens,
    )
    return [answer.text for answer in answers]


def generate_batch(
    loaded: LoadedModel | tuple[Any, Any, Any, int],
    images: Any,
    questions: Sequence[str],
    facial_priors: torch.Tensor | None,
    *,
    image_sizes: Any = None,
    conversation: str | None = None,
    max_new_tokens: int = 512,
    with_logits: bool = False,
    seeds: Sequence[int] | None = None,
) -> tuple[list[Answer], list[torch.Tensor] | None]:
    """``answer_batch`` with token ids and, on request, the logits that each token was chosen from.

    ``seeds``, one a question: sampled answers (``sampling``) instead of greedy ones.

    The logits: per generated position a tensor (batch, vocabulary); None without ``with_logits``.
    """
    tokenizer, model, _, _ = loaded
    known = {question: prompt_ids(question, tokenizer, model.config, conversation) for question in set(questions)}
    input_ids, attention_mask = left_padded([known[question] for question in questions], tokenizer, model)
    extra: dict[str, Any] = {} if facial_priors is None else {"facial_priors": facial_priors.to(model.device)}
    if with_logits:
        extra |= {"return_dict_in_generate": True, "output_scores": True}
    if seeds is not None:
        extra["logits_processor"] = LogitsProcessorList([GumbelNoise(seeds)])
    padding = left_padding(model) if len(questions) > 1 else contextlib.nullcontext()
    # No inference_mode: ZeRO-3 keeps what it gathers, and training could not go on with inference tensors.
    with torch.no_grad(), padding:
        output = model.generate(
            input_ids,
            images=images,
            image_sizes=image_sizes,
            attention_mask=attention_mask,
            do_sample=False,
            max_new_tokens=max_new_tokens,
            use_cache=True,
            pad_token_id=padding_id(tokenizer),
            **extra,
        )
    rows = new_tokens(output.sequences if with_logits else output, tokenizer, model)
    stops = end_tokens(tokenizer, model)
    answers = [
        Answer(text, row, is_cut=not (row and row[-1] in stops))
        for text, row in zip(texts(rows, tokenizer), rows, strict=True)
    ]
    return answers, list(output.scores) if with_logits else None


def new_tokens(sequences: torch.Tensor, tokenizer: Any, model: Any) -> list[list[int]]:
    """Each row's tokens up to its end token; transformers 4.37 puts a BOS before them, which no model said."""
    stops = end_tokens(tokenizer, model)
    rows = []
    for row in sequences.tolist():
        tokens = row[1:] if row and row[0] == tokenizer.bos_token_id else row
        end = next((index for index, token in enumerate(tokens) if token in stops), None)
        rows.append(tokens if end is None else tokens[: end + 1])
    return rows


def end_tokens(tokenizer: Any, model: Any) -> set[int]:
    """Ids that end an answer."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = tokenizer.eos_token_id if ends is None else ends
    return set(ends) if isinstance(ends, list | tuple) else {ends}


def texts(rows: Sequence[Sequence[int]], tokenizer: Any) -> list[str]:
    # Like decode(..., skip_special_tokens=True), which makes the list of special tokens anew for every token.
    special = set(tokenizer.all_special_ids)
    return [tokenizer.decode([token for token in row if token not in special]).strip() for row in rows]


@contextlib.contextmanager
def left_padding(model: Any) -> Iterator[None]:
    """LLaVA pads embeddings on the side that the config names; only on the left do all answers start in one place.

    The config belongs to the model, so batches of several questions are for one thread at a time.
    """
    side = getattr(model.config, "tokenizer_padding_side", "right")
    model.config.tokenizer_padding_side = "left"
    try:
        yield
    finally:
        model.config.tokenizer_padding_side = side


def left_padded(prompts: list[list[int]], tokenizer: Any, model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and their mask (rows, tokens)."""
    longest = max(len(prompt) for prompt in prompts)
    rows = [[padding_id(tokenizer)] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return (
        torch.tensor(rows, device=model.device),
        torch.tensor(mask, device=model.device, dtype=torch.bool),
    )


def padding_id(tokenizer: Any) -> int:
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
