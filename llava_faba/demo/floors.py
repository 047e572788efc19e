"""Answers that need no model: what a score is worth is seen against them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any


def random_answers(
    train: Sequence[dict[str, Any]], evaluation: Sequence[dict[str, Any]], seed: int
) -> list[dict[str, Any]]:
    """For every evaluation record the answer of a random training record."""
    generator = random.Random(seed)
    texts = [_answer(record) for record in train]
    return [{"question_id": record["id"], "text": generator.choice(texts)} for record in evaluation]


def majority_answers(
    train: Sequence[dict[str, Any]], evaluation: Sequence[dict[str, Any]], task: str
) -> list[dict[str, Any]]:
    """For every evaluation record one and the same training answer: one with the most frequent label.

    For AUs, whose label is a set, that is the training answer whose set overlaps best with all the others (the highest
    mean F1): the best that a constant answer can do on the training set.
    """
    from faba_bench.reference.emotion import read_emotion

    texts = [_answer(record) for record in train]
    if task == "emotion":
        labels = [read_emotion(text).value for text in texts]
        commonest = Counter(labels).most_common(1)[0][0]
        chosen = texts[labels.index(commonest)]
    else:
        chosen = _most_overlapping(texts)
    return [{"question_id": record["id"], "text": chosen} for record in evaluation]


def _most_overlapping(texts: Sequence[str]) -> str:
    from faba_bench.reference.au import read_aus

    sets = Counter(frozenset(read_aus(text, range(1, 100)).value) for text in texts)

    def overlap(candidate: frozenset[int]) -> float:
        return sum(
            count * 2 * len(candidate & other) / max(1, len(candidate) + len(other)) for other, count in sets.items()
        )

    best = max(sorted(sets, key=sorted), key=overlap)
    return next(text for text in texts if frozenset(read_aus(text, range(1, 100)).value) == best)


def _answer(record: dict[str, Any]) -> str:
    return str(record["conversations"][1]["value"])
