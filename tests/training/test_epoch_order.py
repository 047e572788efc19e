"""Which records are seen, how often and in which order: properties of the sampler, without a model."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from llava_faba.errors import UserError
from llava_faba.training.epoch_order import EpochOrder, EpochPlan
from llava_faba.upstream import import_llava

pytestmark = pytest.mark.newest
LengthGroupedSampler = import_llava("llava.train.llava_trainer").LengthGroupedSampler


def sampler_of(lengths: list[int], plan: EpochPlan, kind: str = "modality") -> object:
    """LLaVA's sampler or torch's, as the trainer makes it."""
    if kind == "modality":
        chunks = plan.processes * plan.accumulation
        return LengthGroupedSampler(plan.batch, world_size=chunks, lengths=lengths, group_by_modality=True)
    return (RandomSampler if kind == "random" else SequentialSampler)(lengths)


def lengths_of(pictures: int, texts: int) -> list[int]:
    """Lengths as LLaVA gives them: those of texts are negative."""
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randint(1, 50, (pictures + texts,), generator=generator).tolist()
    return drawn[:pictures] + [-length for length in drawn[pictures:]]


def epochs_of(plan: EpochPlan, lengths: list[int], epochs: int, *, seed: int = 42, dropout: int = 0, kind="modality"):
    """The records of each epoch; ``dropout``: global random numbers that something else draws meanwhile."""
    now = itertools.count()
    order = EpochOrder(sampler_of(lengths, plan, kind), plan, seed, lambda: next(now))
    seen = []
    for _ in range(epochs):
        seen.append(list(order))
        torch.rand(dropout)
        assert len(seen[-1]) == len(order) == plan.shown
    return seen


@st.composite
def possible_plans(draw):
    values = draw(
        st.fixed_dictionaries(
            {
                "records": st.integers(1, 40),
                "batch": st.integers(1, 5),
                "processes": st.integers(1, 3),
                "accumulation": st.integers(1, 4),
                "drop_last": st.booleans(),
                "smaller_last_step": st.booleans(),
            }
        )
    )
    try:
        return EpochPlan(**values)
    except UserError:
        return EpochPlan(**{**values, "batch": 1, "accumulation": 1, "processes": 1})


@settings(max_examples=200, deadline=None)
@given(
    plan=possible_plans(),
    texts=st.integers(0, 40),
    epochs=st.integers(1, 7),
    dropout=st.integers(0, 3),
    kind=st.sampled_from(["modality", "random", "sequential"]),
    seed=st.integers(0, 2**40),
)
def test_over_epochs_every_record_is_seen_as_often_as_any_other(plan, texts, epochs, dropout, kind, seed):
    texts = min(texts, plan.records)
    lengths = lengths_of(plan.records - texts, texts)
    seen = epochs_of(plan, lengths, epochs, seed=seed, dropout=dropout, kind=kind)
    for upto in range(1, epochs + 1):
        counts = Counter(itertools.chain(*seen[:upto]))
        every = [counts[record] for record in range(plan.records)]
        assert max(every) - min(every) <= 1 and sum(every) == upto * plan.shown
    copies = plan.shown / plan.records
    for epoch in seen:
        assert all(int(copies) <= Counter(epoch)[record] <= -int(-copies // 1) for record in range(plan.records))
    # The trainer counts as many whole batches, in every process.
    batches = -(-plan.shown // plan.batch)
    assert batches % plan.processes == 0 or plan.processes == 1
    if not plan.smaller_last_step:
        assert batches // plan.processes == plan.updates * plan.accumulation


@settings(max_examples=50, deadline=None)
@given(plan=possible_plans(), epochs=st.integers(2, 5), dropout=st.integers(1, 9), at=st.integers(1, 4))
def test_a_run_that_goes_on_sees_what_it_would_have_seen(plan, epochs, dropout, at):
    """Whatever the global random state is, and also where an epoch is begun several times on the way."""
    lengths = lengths_of(plan.records, 0)
    whole = epochs_of(plan, lengths, epochs)
    at = min(at, epochs - 1)
    later = EpochOrder(sampler_of(lengths, plan), plan, 42, lambda: at)
    torch.rand(dropout)
    assert list(later) == list(later) == whole[at]
    assert list(EpochOrder(sampler_of(lengths, plan), plan, 42, lambda: 0)) == whole[0]


@pytest.mark.parametrize("kind", ["modality", "random"])
def test_the_seed_decides_the_order_and_nothing_else_does(kind):
    plan, lengths = EpochPlan(24, 2, processes=2), lengths_of(14, 10)
    first = epochs_of(plan, lengths, 3, seed=1, kind=kind)
    assert first == epochs_of(plan, lengths, 3, seed=1, dropout=7, kind=kind)
    assert first != epochs_of(plan, lengths, 3, seed=2, kind=kind)
    assert first[0] != first[1] != first[2]


def test_the_case_of_the_lost_texts():
    """14 pictures, then 6 texts, batch 2, 3 steps, 6 epochs: records 18 and 19 were never seen."""
    seen = epochs_of(EpochPlan(20, 2, accumulation=3), lengths_of(14, 6), 6)
    counts = Counter(itertools.chain(*seen))
    assert set(counts.values()) == {5, 6} and len(counts) == 20
    assert all(len(set(epoch)) == 18 for epoch in seen)  # nothing twice in an epoch


@pytest.mark.parametrize("kind", ["modality", "random"])
def test_one_process_without_dropout_has_llavas_own_order(kind):
    """As LLaVA's own samplers draw it through a data loader, epoch after epoch, from torch's global generator."""
    lengths = lengths_of(9, 6)
    plan = EpochPlan(15, 4)
    torch.manual_seed(5)
    loader = DataLoader(range(15), batch_size=4, sampler=sampler_of(lengths, plan, kind), collate_fn=list)
    upstream = [list(itertools.chain(*loader)) for _ in range(3)]
    after = torch.rand(1)
    torch.manual_seed(5)
    now = itertools.count()
    order = EpochOrder(sampler_of(lengths, plan, kind), plan, 5, lambda: next(now))
    loader = DataLoader(range(15), batch_size=4, sampler=order, collate_fn=list)
    assert [list(itertools.chain(*loader)) for _ in range(3)] == upstream
    assert torch.equal(torch.rand(1), after)  # and what dropout draws next is the same as well


@pytest.mark.parametrize(("processes", "accumulation"), [(2, 1), (1, 2)])
def test_two_processes_see_in_a_step_what_one_sees_in_two_batches(processes, accumulation):
    lengths = lengths_of(10, 14)
    plan = EpochPlan(24, 3, processes=processes, accumulation=accumulation)
    steps = [
        [sorted(epoch[start : start + 6]) for start in range(0, 24, 6)] for epoch in epochs_of(plan, lengths, 3, seed=8)
    ]
    assert steps == [
        [sorted(epoch[start : start + 6]) for start in range(0, 24, 6)]
        for epoch in epochs_of(EpochPlan(24, 3, accumulation=2), lengths, 3, seed=8)
    ]


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"records": 8, "batch": 4, "accumulation": 8}, "--gradient_accumulation_steps 2 or less"),
        ({"records": 8, "batch": 4, "processes": 2, "accumulation": 2}, "--gradient_accumulation_steps 1 or less"),
        ({"records": 3, "batch": 4, "drop_last": True}, "a smaller batch"),
    ],
)
def test_a_step_larger_than_the_data_is_refused(values, advice):
    with pytest.raises(UserError, match=advice):
        EpochPlan(**values)


def test_what_is_printed_says_how_often_records_are_seen():
    assert str(EpochPlan(20, 2)) == "each epoch shows 20 records once in 10 steps"
    assert "but for 2 that do not fill a step" in str(EpochPlan(20, 2, accumulation=3))
    assert "and 1 again" in str(EpochPlan(23, 2, processes=2))


def test_a_sampler_that_cannot_be_ordered_is_refused():
    with pytest.raises(UserError, match="train_sampling_strategy"):
        EpochOrder(object(), EpochPlan(4, 1), 0, lambda: 0)
