"""What a prior costs: tokens, parameters and time of models that differ in their prior alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llava_faba.errors import UserError

PICTURES = 8
ROUNDS = 9
_TEXT = 60  # tokens behind the picture, as many as a question and a short answer


def measure(checkpoints: Sequence[Path], names: Sequence[str], rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Of each model: ``tokens`` and ``parameters`` that the prior adds, and ``step``, the median time of one forward
    and backward pass over eight pictures in shares of the first model's.

    The models take turns in every round, so that whatever else the machine does slows all of them. LoRA weights are
    merged; what is trained is the language model and both projectors. Raises UserError where numbers of names and
    checkpoints do not go together; CheckpointError as ``load_model``.
    """
    from llava_faba.model.loading import load_model

    if len(checkpoints) != len(names) or not names:
        raise UserError(f"{len(names)} names for {len(checkpoints)} checkpoints")
    models = [load_model(path).model.train() for path in checkpoints]
    for model in models:
        model.requires_grad_(True)
        model.get_vision_tower().requires_grad_(False)
    times: list[list[float]] = [[] for _ in models]
    for round_ in range(rounds + 1):
        for model, taken in zip(models, times, strict=True):
            seconds = _pass(model)
            if round_:  # the first warms up
                taken.append(seconds / times[0][-1] if taken is not times[0] else seconds)
    shares = [1.0, *(statistics.median(taken) for taken in times[1:])]
    return [
        {"name": name, **_size(model), "step": round(share, 3)}
        for name, model, share in zip(names, models, shares, strict=True)
    ]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| model | tokens | parameters | time of a pass, of the first's |", "|---|---|---|---|"]
    lines += [f"| {row['name']} | {row['tokens']} | {row['parameters']:,} | {row['step']:.2f} |" for row in rows]
    return "\n".join(lines) + "\n"


def _size(model: Any) -> dict[str, int]:
    from llava_faba.model.config import has_prior
    from llava_faba.model.projector import PROJECTOR_NAME
    from llava_faba.vetting.prior_tokens import token_count

    if not has_prior(model.config):
        return {"tokens": 0, "parameters": 0}
    projector = getattr(model.get_model(), PROJECTOR_NAME)
    return {
        "tokens": token_count(vars(model.config)),
        "parameters": sum(parameter.numel() for parameter in projector.parameters()),
    }


def _pass(model: Any) -> float:
    import torch
    from llava.constants import IMAGE_TOKEN_INDEX

    from llava_faba.model.config import has_prior, prior_size

    side = model.get_vision_tower().config.image_size
    torch.manual_seed(0)
    ids = torch.tensor([[1, IMAGE_TOKEN_INDEX, *range(5, 5 + _TEXT)]]).repeat(PICTURES, 1)
    pictures = torch.randn(PICTURES, 3, side, side)
    priors = torch.rand(PICTURES, prior_size(model.config) or 0) if has_prior(model.config) else None
    model.zero_grad(set_to_none=True)
    began = time.perf_counter()
    model(input_ids=ids, labels=ids, images=pictures, facial_priors=priors).loss.backward()
    return time.perf_counter() - began
