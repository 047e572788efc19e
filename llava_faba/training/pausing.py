"""Training that pauses for an evaluation, in every process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


def gathered(answers: dict[int, str]) -> dict[int, str]:
    """All processes' answers."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return answers
    shares: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(shares, answers)
    return {index: text for share in shares for index, text in share.items()}


@contextlib.contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Evaluate in between: training goes on with the random numbers and the dropout that it would have had."""
    modes = [(module, module.training) for module in model.modules()]
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
