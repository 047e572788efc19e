"""A record's conversation as the chat template writes it, and which of its tokens are learnt: the answers.

The answers' tokens are found by their place in the text, not by counting what stands before them: a processor makes
many tokens of one picture, and a tokenizer may join what two pieces of text have at their border.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from llava_faba.errors import RecordError
from llava_faba.native import FacialPriorModel
from llava_faba.records.vocabulary import IMAGE_TOKEN

IGNORED = -100


@dataclass(frozen=True)
class Taught:
    """``tail``: the tokens from the first answer on; ``labels``: of these, the answers' own, else IGNORED.

    ``tokens``: of the whole text, in which a picture is what the template writes for it.
    """

    text: str
    tail: tuple[int, ...]
    labels: tuple[int, ...]
    tokens: int

    @property
    def answer(self) -> int:
        return sum(label != IGNORED for label in self.labels)


class Encoder:
    """Records to batches of a model. ``max_length``: positions, pictures and priors counted; nothing is cut."""

    def __init__(self, model: Any, processor: Any) -> None:
        self.processor, self.tokenizer = processor, processor.tokenizer
        self.prior_size = int(processor.prior_size)
        self.attached = isinstance(model, FacialPriorModel)
        ends = model.generation_config.eos_token_id
        self._ends = {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id} - {None}
        self._special = sorted({str(token) for token in self.tokenizer.all_special_tokens if len(str(token)) > 1})
        self.picture_tokens = lru_cache(maxsize=4096)(self._picture_tokens)

    def messages(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The record's turns for a chat template; the picture comes first, where LLaVA puts it."""
        turns: list[dict[str, Any]] = []
        for turn in record["conversations"]:
            text = str(turn["value"]).replace(IMAGE_TOKEN, "").strip()
            for token in self._special:
                if token in text:
                    raise RecordError(f"holds '{token}', which the tokenizer takes for a mark of its own")
            content: list[dict[str, Any]] = [{"type": "text", "text": text}]
            if IMAGE_TOKEN in turn["value"]:
                content.insert(0, {"type": "image"})
            turns.append({"role": "user" if turn["from"] == "human" else "assistant", "content": content})
        return turns

    def taught(self, record: Mapping[str, Any]) -> Taught:
        """Raises RecordError where the template rewrites what was said, or ends no answer."""
        messages = self.messages(record)
        text = self._written(messages)
        spans = []
        for place in range(1, len(messages), 2):
            asked, answered = self._written(messages[:place], prompt=True), self._written(messages[: place + 1])
            if not (text.startswith(answered) and answered.startswith(asked)):
                raise RecordError(
                    "the chat template writes a conversation otherwise than turn by turn, so that what is asked later "
                    "would not be what was learnt"
                )
            spans.append((len(asked), len(answered)))
        encoded = self.tokenizer(text, return_offsets_mapping=True, **self._options(text))
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        first = next((number for number, (_, end) in enumerate(offsets) if end > spans[0][0]), len(ids))
        labels = [IGNORED] * (len(ids) - first)
        for start, end in spans:
            inside = [number for number in range(first, len(ids)) if offsets[number][1] > start]
            inside = [number for number in inside if offsets[number][0] < end and offsets[number][1] <= end]
            last = max((number for number in inside if ids[number] in self._ends), default=None)
            if last is None:
                raise RecordError(
                    "the chat template ends an answer with no token at which the model stops "
                    f"({sorted(self._ends)}): it would never learn to stop"
                )
            for number in inside:
                if number <= last:
                    labels[number - first] = ids[number]
        return Taught(text, tuple(ids[first:]), tuple(labels), len(ids))

    def length(self, taught: Taught, size: tuple[int, int] | None) -> int:
        """Positions that a record takes with a picture of ``size`` (width, height)."""
        return taught.tokens + (0 if size is None else self.picture_tokens(size))

    def batch(
        self, records: Sequence[Mapping[str, Any]], pictures: Sequence[Any], priors: Sequence[np.ndarray | None]
    ) -> dict[str, torch.Tensor]:
        """Input of the model, padded on the right, with ``labels``. ``pictures``: RGB, or None for text alone."""
        taught = [self.taught(record) for record in records]
        kept = [(picture, prior) for picture, prior in zip(pictures, priors, strict=True) if picture is not None]
        options: dict[str, Any] = {}
        if kept:
            zeros = np.zeros(self.prior_size, np.float32)
            options["images"] = [[picture] for picture, _ in kept]
            options["facial_priors"] = np.stack([zeros if prior is None else prior for _, prior in kept])
        before, self.tokenizer.padding_side = self.tokenizer.padding_side, "right"
        try:
            made = self.processor(
                text=[one.text for one in taught],
                padding=True,
                return_tensors="pt",
                **self._options(taught[0].text),
                **options,
            )
        finally:
            self.tokenizer.padding_side = before
        batch = dict(made.data)
        batch["labels"] = torch.full_like(batch["input_ids"], IGNORED)
        for row, one in enumerate(taught):
            end = int(batch["attention_mask"][row].sum())
            start = end - len(one.tail)
            if start < 1 or tuple(batch["input_ids"][row, start:end].tolist()) != one.tail:
                raise RecordError(
                    f"record {records[row].get('id', 'no id')}: the processor makes other tokens of its answers than "
                    "the tokenizer does, so that nobody can tell which are learnt"
                )
            batch["labels"][row, start:end] = torch.tensor(one.labels)
        return batch

    def _written(self, messages: list[dict[str, Any]], *, prompt: bool = False) -> str:
        return str(self.processor.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=False))

    def _options(self, text: str) -> dict[str, Any]:
        """Templates of some models write the first token themselves."""
        first = self.tokenizer.bos_token
        return {"add_special_tokens": not (first and text.startswith(first))}

    def _picture_tokens(self, size: tuple[int, int]) -> int:
        """How many positions more than in the text a picture of (width, height) takes, its prior's included."""
        said = [{"from": "human", "value": f"{IMAGE_TOKEN}\na"}, {"from": "gpt", "value": "a"}]
        record = {"conversations": said, "image": ""}
        grey = Image.new("RGB", size, (127, 127, 127))
        made = self.batch([record], [grey], [None])
        return int(made["attention_mask"].sum()) - self.taught(record).tokens
