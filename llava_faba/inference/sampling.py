"""Sampled answers that do not depend on batches: each has random numbers of its own.

A token drawn from a softmax is the argmax of the logits with Gumbel noise added (Maddison et al. 2014, arXiv
1411.0030), so greedy decoding with that noise is sampling. The noise of an answer comes from a seed of its question and
number: an interrupted run, another batch size and several processes draw the same answers, up to rounding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from llava_faba.inference.settings import TEMPERATURE


def seeds_of(questions: Sequence[str], number: int) -> list[int]:
    """A seed for sampled answer `number` to each question id."""
    digests = (hashlib.sha256(f"{number}:{question}".encode("utf-8", "backslashreplace")) for question in questions)
    return [int.from_bytes(digest.digest()[:8], "big") >> 1 for digest in digests]


class GumbelNoise:
    """Of transformers' logits processors: adds to each row the noise of its seed. For one call of ``generate``."""

    def __init__(self, seeds: Sequence[int], temperature: float = TEMPERATURE) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._temperature = temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores`: logits (rows, vocabulary)."""
        drawn = torch.stack([torch.rand(scores.shape[-1], generator=one) for one in self._generators])
        noise = -torch.log(-torch.log(drawn.clamp(1e-30, 1 - 6e-8)))
        return scores.float() / self._temperature + noise.to(scores.device)
