"""Which records an epoch shows and in which order: from the seed and the epoch's number, the same in every process.

LLaVA's samplers draw from torch's global generator. Dropout moves that one apart in every process, so that some
records are seen twice and others never; and where accelerate gives them a generator, it has a constant seed. Here the
same samplers draw from a stream of their own. It starts and runs on as the global one does in one process without
dropout, so that there the order is LLaVA's own in every epoch (and in the first one with dropout, too).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Sampler

from llava_faba.errors import UserError


@dataclass(frozen=True)
class EpochPlan:
    """How many records an epoch shows, out of how many, in how many optimizer steps.

    ``batch``: records in one process's batch; ``smaller_last_step``: whether the Trainer ends an epoch with a step of
    fewer batches (transformers 4.52 and later). Where it does not, an epoch is the whole steps that fit into it, and
    what is left out is another share of the records each time. Several processes need equal batches, and then some
    records are shown twice, again others each time. Over whole epochs no two records' counts differ by more than one.

    Raises UserError where an epoch would hold no whole step.
    """

    records: int
    batch: int
    processes: int = 1
    accumulation: int = 1
    drop_last: bool = False
    smaller_last_step: bool = False

    def __post_init__(self) -> None:
        if self.updates == 0:
            fitting = self._batches
            advice = f"--gradient_accumulation_steps {fitting} or less" if fitting else "a smaller batch"
            raise UserError(
                f"--per_device_train_batch_size {self.batch} x --gradient_accumulation_steps {self.accumulation} x "
                f"{self.processes} processes are more than the {self.records} records: no step would be whole, and "
                f"its loss and gradients a share of what they are; give {advice}."
            )

    @property
    def updates(self) -> int:
        """Optimizer steps of an epoch, as the Trainer counts them."""
        if self.smaller_last_step:
            return -(-self._batches // self.accumulation)
        return self._batches // self.accumulation

    @property
    def shown(self) -> int:
        """Records that all processes see in an epoch, repeated ones counted twice."""
        share = self.batch * self.processes
        if not self.smaller_last_step and self._batches % self.accumulation:
            return self.updates * self.accumulation * share
        if self.drop_last or self.processes > 1:
            return self._batches * share
        return self.records

    def members(self, epoch: int, seed: int) -> list[int]:
        """The records of an epoch, in the data's order; of those that are shown more often or not, each in turn."""
        copies, more = divmod(self.shown, self.records)
        if more == 0:
            return list(range(self.records)) * copies
        turns = torch.randperm(self.records, generator=torch.Generator().manual_seed(seed)).tolist()
        start = epoch * more
        chosen = {turns[(start + offset) % self.records] for offset in range(more)}
        return list(range(self.records)) * copies + sorted(chosen)

    def __str__(self) -> str:
        text = f"each epoch shows {self.records} records once in {self.updates} steps"
        copies, more = divmod(self.shown, self.records)
        if copies == 0:
            left = self.records - more
            return f"{text}, but for {left} that do not fill a step: others each time"
        if self.shown == self.records:
            return text
        return f"{text}, and {self.shown - self.records} again, so that all batches are equal: others each time"

    @property
    def _batches(self) -> int:
        """Batches of one process."""
        share = self.batch * self.processes
        return self.records // share if self.drop_last else -(-self.records // share)


class EpochOrder(Sampler):
    """``sampler`` over the members of an epoch, drawing from a stream that starts at ``seed``.

    ``sampler``: one of torch's, transformers' or LLaVA's that holds ``lengths`` or a ``data_source``; ``epoch`` tells
    the number of the epoch that is about to begin.
    """

    def __init__(self, sampler: Any, plan: EpochPlan, seed: int, epoch: Callable[[], int]) -> None:
        if not (hasattr(sampler, "lengths") or hasattr(sampler, "data_source")):
            raise UserError(
                f"the records' order cannot be kept with {type(sampler).__name__}: leave out the flag that asks for "
                "it (--train_sampling_strategy), or give random, sequential or group_by_length."
            )
        self.plan = plan
        self._sampler, self._seed, self._epoch = sampler, seed, epoch
        self._restart()

    def __len__(self) -> int:
        return self.plan.shown

    def __iter__(self) -> Iterator[int]:
        # Dropout goes on where it would go on in LLaVA: behind what its sampler draws.
        for _ in self._sampler:
            pass
        return iter(self._order(self._epoch()))

    def _order(self, epoch: int) -> list[int]:
        if epoch < self._drawn - 1:
            self._restart()
        while self._drawn <= epoch:
            members = self.plan.members(self._drawn, self._seed)
            with self._own_stream(), _over(self._sampler, members):
                torch.empty((), dtype=torch.int64).random_()  # a data loader draws this before it asks its sampler
                self._last = [members[index] for index in self._sampler]
            self._drawn += 1
        return self._last

    def _restart(self) -> None:
        self._drawn, self._last = 0, []
        self._stream = torch.Generator().manual_seed(self._seed).get_state()

    @contextlib.contextmanager
    def _own_stream(self) -> Iterator[None]:
        outside = torch.random.get_rng_state()
        torch.random.set_rng_state(self._stream)
        try:
            yield
        finally:
            self._stream = torch.random.get_rng_state()
            torch.random.set_rng_state(outside)


@contextlib.contextmanager
def _over(sampler: Any, members: list[int]) -> Iterator[None]:
    """Let a sampler draw from some of its records."""
    name = "lengths" if hasattr(sampler, "lengths") else "data_source"
    whole = getattr(sampler, name)
    setattr(sampler, name, [whole[index] for index in members] if name == "lengths" else members)
    try:
        yield
    finally:
        setattr(sampler, name, whole)


def epoch_order(sampler: Any, trainer: Any) -> Any:
    """A trainer's ``sampler`` in the order of its seed and epoch."""
    from llava_faba.compat.resume import counts_whole_steps_only

    if sampler is None:
        return None
    args = trainer.args
    plan = EpochPlan(
        records=len(trainer.train_dataset),
        batch=args.train_batch_size,
        processes=args.world_size,
        accumulation=args.gradient_accumulation_steps,
        drop_last=args.dataloader_drop_last,
        smaller_last_step=not counts_whole_steps_only(),
    )
    seed = args.seed if args.data_seed is None else args.data_seed
    return EpochOrder(sampler, plan, seed, lambda: trainer.state.global_step // plan.updates)
