"""Greedy decoding in which a finished answer makes room for the next question at once.

A batch that is decoded as a whole waits for its longest answer; FABA-Instruct's differ by a factor of four. Here the
rows of one running batch come and go: the key-value cache loses the rows that have ended, and gains those of new
prompts, padded on the left to the same length. Tokens are those of ``generate``, up to the rounding of any batch.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM

from llava_faba.inference.answer import end_tokens, left_padded, left_padding, prompt_ids, texts, to_model
from llava_faba.inference.engines.base import Question, Result, id_of

# Of a generation_config.json: what greedy decoding does not look at, or what is done here as well.
_HARMLESS = {
    *("_from_model_config", "bos_token_id", "do_sample", "eos_token_id", "max_length", "max_new_tokens"),
    *("pad_token_id", "temperature", "top_k", "top_p", "transformers_version", "use_cache", "trust_remote_code"),
}
# What changes nothing with these values, which some releases write out.
_NEUTRAL = {"length_penalty": 1, "min_length": 0, "no_repeat_ngram_size": 0, "num_beams": 1, "repetition_penalty": 1}


def can_stream(model: Any) -> bool:
    """Whether this model is decoded rightly by plain argmax: a LLaMA, and nothing in its generation config but ids."""
    config = getattr(model, "generation_config", None)
    told = {} if config is None else config.to_diff_dict()
    other = {name for name, value in told.items() if value is not None and value != _NEUTRAL.get(name)} - _HARMLESS
    return isinstance(model, LlavaLlamaForCausalLM) and not other


@dataclass
class Waiting:
    """A question whose picture and prior are ready."""

    question: Question
    image: torch.Tensor
    size: tuple[int, int]
    prior: torch.Tensor | None
    status: str | None


@dataclass
class _Row:
    waiting: Waiting
    tokens: list[int] = field(default_factory=list)
    is_over: bool = False


class Stream:
    """A running batch of at most ``capacity`` rows of one model, for one thread."""

    def __init__(self, loaded: Any, conversation: str | None, max_new_tokens: int, capacity: int) -> None:
        self._loaded, self._tokenizer, self._model = loaded, loaded[0], loaded[1]
        self._conversation, self._limit, self._capacity = conversation, max_new_tokens, capacity
        self._stops = end_tokens(self._tokenizer, self._model)
        # Each change of the rows copies the cache, which costs about as much as a step: not for one row alone.
        self._least = max(1, capacity // 8)
        self.rows: list[_Row] = []
        self._cache: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._mask = torch.zeros(0, 0, dtype=torch.bool)

    def run(self, queue: deque[Waiting]) -> Iterator[Result]:
        """Decode until rows are missing that ``queue`` cannot give: the results of answers that ended on the way."""
        while True:
            over = sum(row.is_over for row in self.rows)
            has_room = self._capacity - len(self.rows) + over >= self._least or over == len(self.rows)
            if has_room and over:
                yield from self._leave()
            if has_room and queue:
                self._enter([queue.popleft() for _ in range(min(self._capacity - len(self.rows), len(queue)))])
            elif has_room:
                return
            else:
                self._step()

    def finish(self) -> Iterator[Result]:
        """Decode what is left, when no question is to come."""
        while self.rows:
            if all(row.is_over for row in self.rows) or sum(row.is_over for row in self.rows) >= self._least:
                yield from self._leave()
            else:
                self._step()

    def given_up(self) -> list[Question]:
        """Forget all rows, after an error; their questions."""
        questions = [row.waiting.question for row in self.rows]
        self.rows, self._cache = [], []
        return questions

    def _enter(self, new: Sequence[Waiting]) -> None:
        rows = [_Row(one) for one in new]
        self.rows += rows  # first, so that an error finds them here
        embeddings, mask = self._prompts(new)
        cache = _empty_cache()
        positions = (mask.long().cumsum(-1) - 1).clamp_min(0)
        logits = self._forward(cache, mask, positions, inputs_embeds=embeddings)
        pairs = _pairs(cache)
        if self._cache:
            longest = max(mask.shape[1], self._mask.shape[1])
            self._mask = torch.cat((_left(self._mask, longest), _left(mask, longest)))
            self._cache = [
                (_joined(key, new_key, longest), _joined(value, new_value, longest))
                for (key, value), (new_key, new_value) in zip(self._cache, pairs, strict=True)
            ]
        else:
            self._mask, self._cache = mask, pairs
        self._said(rows, logits)

    def _prompts(self, new: Sequence[Waiting]) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings (rows, tokens, hidden) of prompts with their pictures, and which tokens are no padding."""
        model, shapes = self._model, {one.image.shape for one in new}
        pictures = [one.image for one in new]
        images = to_model(torch.stack(pictures) if len(shapes) == 1 else pictures, model)
        prompts = [prompt_ids(one.question["text"], self._tokenizer, model.config, self._conversation) for one in new]
        ids, mask = left_padded(prompts, self._tokenizer, model)
        priors = [one.prior for one in new if one.prior is not None]
        if priors:
            images = model.with_priors(images, torch.stack(priors).to(model.device))
        padding = left_padding(model) if len(new) > 1 else contextlib.nullcontext()
        with torch.no_grad(), padding:
            found = model.prepare_inputs_labels_for_multimodal(
                ids, None, mask, None, None, images, [one.size for one in new]
            )
        mask = (
            found[2] if found[2] is not None else torch.ones(found[4].shape[:2], dtype=torch.bool, device=model.device)
        )
        return found[4], mask.bool()

    def _step(self) -> None:
        last = torch.tensor([[row.tokens[-1]] for row in self.rows], device=self._model.device)
        self._mask = torch.cat((self._mask, self._mask.new_ones(len(self.rows), 1)), dim=1)
        cache = _cache_of(self._cache)
        positions = self._mask.long().sum(-1, keepdim=True) - 1
        logits = self._forward(cache, self._mask, positions, input_ids=last)
        self._cache = _pairs(cache)
        self._said(self.rows, logits)

    def _forward(self, cache: Any, mask: torch.Tensor, positions: torch.Tensor, **inputs: Any) -> torch.Tensor:
        with torch.no_grad():
            found = self._model(
                attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, **inputs
            )
        return found.logits[:, -1]

    def _said(self, rows: Sequence[_Row], logits: torch.Tensor) -> None:
        for row, token in zip(rows, logits.argmax(-1).tolist(), strict=True):
            if not row.is_over:
                row.tokens.append(token)
                row.is_over = token in self._stops or len(row.tokens) >= self._limit

    def _leave(self) -> Iterator[Result]:
        """Take the rows out that are over, and columns that are padding in all others."""
        over = [row for row in self.rows if row.is_over]
        kept = [index for index, row in enumerate(self.rows) if not row.is_over]
        self.rows = [self.rows[index] for index in kept]
        if kept:
            rows = torch.tensor(kept, device=self._mask.device)
            start = int(self._mask[rows].any(0).to(torch.uint8).argmax())
            self._mask = self._mask[rows, start:]
            self._cache = [(key[rows, :, start:], value[rows, :, start:]) for key, value in self._cache]
        else:
            self._mask, self._cache = self._mask[:0, :0], []
        for row in over:
            yield Result(
                id_of(row.waiting.question),
                texts([row.tokens], self._tokenizer)[0],
                tuple(row.tokens),
                prior_status=row.waiting.status,
                is_cut=row.tokens[-1] not in self._stops,
            )


def _left(tensor: torch.Tensor, length: int, dim: int = 1) -> torch.Tensor:
    """``tensor`` with zeros in front along ``dim``."""
    missing = length - tensor.shape[dim]
    if missing == 0:
        return tensor
    shape = list(tensor.shape)
    shape[dim] = missing
    return torch.cat((tensor.new_zeros(shape), tensor), dim=dim)


def _joined(old: torch.Tensor, new: torch.Tensor, length: int) -> torch.Tensor:
    return torch.cat((_left(old, length, 2), _left(new, length, 2)))


def _empty_cache() -> Any:
    from transformers import DynamicCache

    return DynamicCache()


def _cache_of(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Any:
    cache = _empty_cache()
    for layer, (key, value) in enumerate(pairs):
        cache.update(key, value, layer)
    return cache


def _pairs(cache: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values (rows, heads, tokens, size) of each layer, in any release's cache."""
    if hasattr(cache, "layers"):
        return [(layer.keys, layer.values) for layer in cache.layers]
    return list(zip(cache.key_cache, cache.value_cache, strict=True))
