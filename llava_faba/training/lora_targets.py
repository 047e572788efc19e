"""Which layers LoRA adapts: LLaVA's choice, with the prior projector out of its sight."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from llava_faba.model.projector import PROJECTOR_NAME


class _WithoutPriorProjector:
    """A model that does not mention its prior projector."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        return ((name, module) for name, module in self._model.named_modules() if PROJECTOR_NAME not in name)


def wrap_find_all_linear_names(original: Callable[[Any], list[str]]) -> Callable[[Any], list[str]]:
    """Wrap ``llava.train.train.find_all_linear_names``, which returns last name parts ("q_proj", but also "0")."""

    @functools.wraps(original)
    def find_all_linear_names(model: Any) -> list[str]:
        # Sorted, since upstream's set order differs from run to run and with it the order of random numbers.
        return sorted(original(_WithoutPriorProjector(model)))

    return find_all_linear_names
