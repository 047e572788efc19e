"""Questions about one picture, to a model of transformers' home; needs no LLaVA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import TextStreamer

from llava_faba.errors import UserError
from llava_faba.inference.engines.asking import prompt_of, tokenizing
from llava_faba.inference.prediction import Prediction, box_around
from llava_faba.records.vocabulary import IMAGE_TOKEN

ROLES = ("USER", "ASSISTANT")  # of every conversation that the converter takes


class NativeChat:
    """As ``inference.chat.Chat``, for what ``load_model`` returned of a folder of transformers.

    The prior is computed by the processor from the picture as it is, which is what a store holds.
    Raises UserError for a ``conversation``, ExpertError when the model's expert cannot be used here.
    """

    def __init__(self, loaded: Any, picture: Any, conversation: str | None = None) -> None:
        check_conversation(conversation)
        self._tokenizer, self._model, self._processor, _ = loaded
        self._picture = picture
        self._turns: list[dict[str, Any]] = []
        self.roles = ROLES
        result = self._processor.compute_facial_priors([picture])
        self._prior = result.features
        self.status = result.statuses[0].value
        self.landmarks: np.ndarray | None = result.landmarks[0] if result.landmarks else None
        self.named_values = self._processor.facial_prior_expert().named_values(result.features[0])

    def ask(
        self,
        question: str,
        *,
        max_new_tokens: int = 512,
        temperature: float = 0.0,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """The answer to the next question, without white space around it; see ``Chat.ask``."""
        if IMAGE_TOKEN in question:
            raise UserError(
                f"'{IMAGE_TOKEN}' in the question: the picture is put before every question, so leave it out."
            )
        parts = [] if self._turns else [{"type": "image"}]
        turns = [*self._turns, {"role": "user", "content": [*parts, {"type": "text", "text": question}]}]
        answer = self._generate(turns, max_new_tokens, temperature, on_text)
        self._turns = [*turns, {"role": "assistant", "content": [{"type": "text", "text": answer}]}]
        return answer

    def _generate(
        self,
        turns: list[dict[str, Any]],
        max_new_tokens: int,
        temperature: float,
        on_text: Callable[[str], None] | None,
    ) -> str:
        prompt = prompt_of(self._processor, turns)
        inputs = self._processor(
            images=[[self._picture]],
            text=[prompt],
            facial_priors=self._prior,
            return_tensors="pt",
            **tokenizing(self._processor, prompt),
        ).to(self._model.device, self._model.dtype)
        sampling = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
        streamer = None if on_text is None else _Streamer(self._tokenizer, on_text)
        with torch.inference_mode():
            made = self._model.generate(**inputs, max_new_tokens=max_new_tokens, streamer=streamer, **sampling)
        new = made[0, inputs["input_ids"].shape[1] :]
        return str(self._tokenizer.decode(new, skip_special_tokens=True)).strip()


def answer_one(
    loaded: Any, picture: Any, question: str, *, conversation: str | None = None, max_new_tokens: int = 512
) -> Prediction:
    """One question about one PIL image; the prior is computed by the processor's expert."""
    chat = NativeChat(loaded, picture, conversation)
    text = chat.ask(question, max_new_tokens=max_new_tokens)
    points = chat.landmarks
    face = box_around(points) if chat.status == "several_faces" else None
    return Prediction(text, points, chat.status, face, chat.named_values)


def check_conversation(conversation: str | None) -> None:
    """Raise UserError for a conversation template: a folder of transformers has one, its chat_template.jinja."""
    if conversation is not None:
        raise UserError(
            f"a folder of transformers has one conversation template, so '{conversation}' cannot be chosen now; "
            "convert the checkpoint with --conv-mode."
        )


class _Streamer(TextStreamer):
    """Hands text on instead of printing it."""

    def __init__(self, tokenizer: Any, on_text: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._on_text = on_text

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self._on_text(text)
