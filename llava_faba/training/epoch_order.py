"""The order in which an epoch's records are seen: the same again after a resume."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback


class WholeSteps(Sampler):
    """A sampler cut off after the last record of the epoch's last full update.

    transformers (before 4.52) counts an epoch as ``batches // gradient_accumulation_steps`` updates, but lets the left
    over batches accumulate into the next epoch: from the second epoch on it cannot say which batches a checkpoint has
    seen. The number of updates and of records seen in a run is the same with and without; one epoch is not changed.
    """

    def __init__(self, sampler: Any, length: int) -> None:
        self._sampler = sampler
        self._length = length

    def __iter__(self) -> Iterator[int]:
        return islice(iter(self._sampler), self._length)

    def __len__(self) -> int:
        return self._length

    @property
    def generator(self) -> Any:
        """accelerate sets it, to draw the same order in every process."""
        return getattr(self._sampler, "generator", None)

    @generator.setter
    def generator(self, value: Any) -> None:
        self._sampler.generator = value


def whole_steps(sampler: Any, args: Any) -> Any:
    """``sampler``, cut off where the last update of an epoch would not be a full one."""
    if sampler is None:
        return None
    batch = args.train_batch_size * args.world_size
    batches = -(-len(sampler) // batch)
    updates, left_over = divmod(batches, args.gradient_accumulation_steps)
    if updates == 0 or left_over == 0:
        return sampler
    return WholeSteps(sampler, updates * args.gradient_accumulation_steps * batch)


class EpochRandomState(TrainerCallback):
    """torch's random state at the beginning of an epoch, from which samplers draw the epoch's order.

    transformers restores the state of the step that was saved, after the order was drawn from another one: a resumed
    epoch would see some records twice and others never.
    """

    def __init__(self) -> None:
        self._state: torch.Tensor | None = None
        self._restored: torch.Tensor | None = None
        self._at_start = False

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        updates = max(1, len(kwargs["train_dataloader"]) // args.gradient_accumulation_steps)
        self._at_start = state.global_step % updates == 0
        if self._restored is not None and not self._at_start:
            torch.random.set_rng_state(self._restored)
        self._restored = None
        self._state = torch.random.get_rng_state()

    def on_random_state_loaded(self) -> None:
        """A run that resumes between two epochs gets its random state after ``on_epoch_begin``."""
        if self._at_start:
            self._state = torch.random.get_rng_state()

    def write(self, folder: Path, args: Any) -> None:
        torch.save(self._state, self._path(folder, args))

    def read(self, folder: Path, args: Any) -> None:
        path = self._path(folder, args)
        if path.is_file():
            self._restored = torch.load(path, weights_only=True)

    @staticmethod
    def _path(folder: Path, args: Any) -> Path:
        return folder / f"epoch_random_{args.process_index}.pt"
