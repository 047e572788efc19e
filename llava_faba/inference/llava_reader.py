"""What ``label_scores`` reads of a model of LLaVA's home: token ids of whole turns, and logits behind them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from llava.constants import IMAGE_TOKEN_INDEX
from llava.mm_utils import tokenizer_image_token

from llava_faba.errors import UserError
from llava_faba.inference.answer import (
    conversation_template,
    is_plain,
    left_padded,
    left_padding,
    to_model,
    with_image,
)
from llava_faba.model.config import has_prior


def check_can_score(conversation: str) -> None:
    """Raise UserError for a conversation template that shows no question."""
    if is_plain(conversation_template(conversation)):
        raise UserError(
            f"--label-scores: the conversation template '{conversation}' shows the picture alone, so a fixed question "
            "cannot be asked."
        )


class LlavaReader:
    """``images``, ``sizes`` and ``priors``: of the pictures, as ``Answerer.prepare`` makes them."""

    def __init__(self, loaded: Any, conversation: str, images: Any, sizes: Sequence[Any], priors: Any) -> None:
        self._tokenizer, self._model = loaded[0], loaded[1]
        self._conversation, self._images, self._sizes, self._priors = conversation, images, sizes, priors
        self._known: dict[tuple[str, str], list[int]] = {}

    def turn_ids(self, picture: int, question: str, answer: str) -> list[int]:
        """Ids up to the end of the answer; the image, -200, is one of them."""
        if (question, answer) not in self._known:
            template = conversation_template(self._conversation)
            template.append_message(template.roles[0], with_image(question, self._model.config))
            template.append_message(template.roles[1], answer)
            text = template.get_prompt()
            text = text[: text.rindex(answer) + len(answer)]
            self._known[question, answer] = tokenizer_image_token(text, self._tokenizer, IMAGE_TOKEN_INDEX)
        return self._known[question, answer]

    def last_logits(self, pictures: Sequence[int], rows: Sequence[Sequence[int]], keep: int) -> torch.Tensor:
        """See ``label_scores.Reader``. Raises UserError where LLaVA cuts a row at the model's longest."""
        model = self._model
        ids, mask = left_padded([list(row) for row in rows], self._tokenizer, model)
        chosen = list(pictures)
        images = self._images[chosen] if isinstance(self._images, torch.Tensor) else [self._images[at] for at in chosen]
        images = to_model(images, model)
        if has_prior(model.config):
            images = model.with_priors(images, self._priors[chosen].to(model.device))
        padding = left_padding(model) if len(rows) > 1 else contextlib.nullcontext()
        with torch.no_grad(), padding:
            _, _, shown, _, embeddings, _ = model.prepare_inputs_labels_for_multimodal(
                ids, None, mask, None, None, images, [self._sizes[at] for at in chosen]
            )
            last = model.get_input_embeddings()(ids[:, -1])
            if not torch.equal(embeddings[:, -1], last):
                raise UserError(
                    "--label-scores: question and picture are longer than the model's tokenizer_model_max_length."
                )
            positions = (shown.long().cumsum(-1) - 1).clamp_min(0)
            found = model.get_model()(
                inputs_embeds=embeddings, attention_mask=shown, position_ids=positions, use_cache=False
            )
            logits: torch.Tensor = model.get_output_embeddings()(found[0][:, -keep:])
        return logits
