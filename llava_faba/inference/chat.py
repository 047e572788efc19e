"""A conversation of several turns about one picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from llava.constants import IMAGE_TOKEN_INDEX
from llava.mm_utils import tokenizer_image_token
from transformers import TextStreamer

from llava_faba.emola.online import priors_of_pictures
from llava_faba.errors import UserError
from llava_faba.inference.answer import (
    conversation_template,
    is_plain,
    new_tokens,
    padding_id,
    preprocess,
    prompt_of,
    texts,
    with_image,
    without_token,
)
from llava_faba.inference.conversations import template_of
from llava_faba.model.config import has_prior


class Chat:
    """Questions about one PIL image; every answer knows the turns before it, and all share one facial prior.

    ``loaded``: what ``load_model`` returned. ``conversation``: name of the LLaVA conversation template; default: the
    checkpoint's. Attributes: ``status``, ``landmarks`` and ``named_values`` as in ``Prediction``; ``roles``, the two
    speakers' names.
    Raises UserError for an unknown template, ExpertError when the model's expert cannot be used here.
    """

    def __init__(self, loaded: Any, picture: Any, conversation: str | None = None) -> None:
        self._tokenizer, self._model, processor, _ = loaded
        self._template = conversation_template(template_of(self._model.config, conversation))
        self._sizes = [picture.size]
        self._images = preprocess([picture], processor, self._model)
        self._extra: dict[str, Any] = {}
        self.roles: tuple[str, str] = self._template.roles
        self.status = "no_prior"
        self.landmarks: np.ndarray | None = None
        self.named_values: dict[str, float] = {}
        if has_prior(self._model.config):
            result = priors_of_pictures(self._model.facial_prior_expert(), [picture])
            self._extra["facial_priors"] = torch.from_numpy(result.features).to(self._model.device)
            self.status = result.statuses[0].value
            self.landmarks = result.landmarks[0] if result.landmarks else None
            self.named_values = self._model.facial_prior_expert().named_values(result.features[0])

    def ask(
        self,
        question: str,
        *,
        max_new_tokens: int = 512,
        temperature: float = 0.0,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """The answer to the next question, without white space around it.

        ``temperature`` 0 decodes greedily. ``on_text`` gets the answer's text piece by piece while it is made.
        An answer that is interrupted leaves the conversation as it was before the question.
        """
        before = [list(message) for message in self._template.messages]
        if before and is_plain(self._template):
            raise UserError("this model's conversation template has no turns: it takes one question about a picture.")
        text = without_token(question) if before else with_image(question, self._model.config)
        self._template.append_message(self.roles[0], text)
        self._template.append_message(self.roles[1], None)
        try:
            answer = self._generate(max_new_tokens, temperature, on_text)
        except BaseException:
            self._template.messages = before
            raise
        self._template.messages[-1][-1] = answer
        return answer

    def _generate(self, max_new_tokens: int, temperature: float, on_text: Callable[[str], None] | None) -> str:
        ids = tokenizer_image_token(prompt_of(self._template), self._tokenizer, IMAGE_TOKEN_INDEX, return_tensors="pt")
        sampling = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
        with torch.inference_mode():
            output = self._model.generate(
                ids[None].to(self._model.device),
                images=self._images,
                image_sizes=self._sizes,
                max_new_tokens=max_new_tokens,
                use_cache=True,
                pad_token_id=padding_id(self._tokenizer),
                streamer=None if on_text is None else _Streamer(self._tokenizer, on_text),
                **sampling,
                **self._extra,
            )
        return texts(new_tokens(output, self._tokenizer, self._model), self._tokenizer)[0]


class _Streamer(TextStreamer):
    """Hands text on instead of printing it."""

    def __init__(self, tokenizer: Any, on_text: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._on_text = on_text

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self._on_text(text)
