"""What ``label_scores`` reads of a model of transformers' home: token ids of whole turns, and logits behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from llava_faba.inference.engines.asking import message


class NativeReader:
    """``inputs``: what the processor made of the pictures (``pixel_values``, ``image_sizes``, ``facial_priors``)."""

    def __init__(self, model: Any, processor: Any, inputs: Any) -> None:
        self._model, self._processor = model, processor
        self._media = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
        self._known: dict[tuple[int, str, str], list[int]] = {}

    def turn_ids(self, picture: int, question: str, answer: str) -> list[int]:
        """Ids up to the end of the answer, the picture's placeholders among them."""
        count = self._placeholders(picture)
        key = (count, question, answer)
        if key not in self._known:
            processor = self._processor
            turns = [message(question, {"type": "image"}), {"role": "assistant", "content": _text(answer)}]
            text = processor.apply_chat_template(turns)
            text = text[: text.rindex(answer) + len(answer)]
            text = text.replace(processor.image_token, processor.image_token * count)
            self._known[key] = processor.tokenizer(text)["input_ids"]
        return self._known[key]

    def last_logits(self, pictures: Sequence[int], rows: Sequence[Sequence[int]], keep: int) -> torch.Tensor:
        """See ``label_scores.Reader``."""
        model, longest = self._model, max(len(row) for row in rows)
        padding = self._processor.tokenizer.pad_token_id
        padding = self._processor.tokenizer.eos_token_id if padding is None else padding
        ids = torch.tensor([[padding] * (longest - len(row)) + list(row) for row in rows], device=model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=model.device)
        media = {name: value[list(pictures)].to(model.device) for name, value in self._media.items()}
        media["pixel_values"] = media["pixel_values"].to(model.dtype)
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        with torch.inference_mode():
            found = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                logits_to_keep=keep,
                use_cache=False,
                **media,
            )
        logits: torch.Tensor = found.logits
        return logits

    def _placeholders(self, picture: int) -> int:
        sizes = self._media.get("image_sizes")
        height, width = (0, 0) if sizes is None else (int(edge) for edge in sizes[picture])
        return int(self._processor.tokens_of((height, width)))


def _text(answer: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": answer}]
