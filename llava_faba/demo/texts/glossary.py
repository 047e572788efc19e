"""Text-only conversations that teach a base model the words of the answers: a FACS glossary, and emotion
words.

No record refers to a picture: the model learns the phrases, never which face they belong to.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from ..faces.action_units import ACTION_UNITS
from ..faces.prototypes import draw_prototype, draw_units
from . import EMOTIONS
from .action_units import CLAUSES, au_answer, describe_unit, regions
from .emotions import ADJECTIVES, NOUNS, SIGNS, emotion_answer
from .wording import choose, join, sentence

Pair = tuple[str, str]


def _what_is(rng: Generator) -> Pair:
    number = _any_unit(rng)
    question = choose(rng, ("What is AU{n}?", "What does AU{n} mean?", "Explain AU{n}.")).format(n=number)
    return question, describe_unit(number, choose(rng, CLAUSES[number]))


def _which_unit(rng: Generator) -> Pair:
    number = _any_unit(rng)
    clause = choose(rng, CLAUSES[number])
    question = choose(rng, ("Which AU is it when {c}?", "What is it called when {c}?", "Name the AU: {c}."))
    return question.format(c=clause), f"AU{number} - {ACTION_UNITS[number].name}: {clause}."


def _which_number(rng: Generator) -> Pair:
    number = _any_unit(rng)
    name = ACTION_UNITS[number].name.lower()
    return f"Which AU is the {name}?", f"The {name} is AU{number}. {sentence(choose(rng, CLAUSES[number]))}"


def _muscle(rng: Generator) -> Pair:
    unit = ACTION_UNITS[_any_unit(rng)]
    return (
        f"Which muscle makes AU{unit.number}?",
        f"AU{unit.number} - {unit.name}: the muscle is {unit.muscle}.",
    )


def _region(rng: Generator) -> Pair:
    number = _any_unit(rng)
    place = regions([number])[0]
    return (
        f"Where on the face is AU{number}?",
        f"AU{number} is in the {place}. {sentence(choose(rng, SIGNS[number]))}",
    )


def _describe_several(rng: Generator) -> Pair:
    units = sorted(draw_units(rng))
    names = join([f"AU{n}" for n in units])
    question = choose(rng, ("Describe {n}.", "How would a face with {n} be described?", "Put {n} into words."))
    return question.format(n=names), au_answer(units, rng)


def _list_several(rng: Generator) -> Pair:
    units = sorted(draw_units(rng))
    signs = join([choose(rng, SIGNS[n]) for n in units])
    return f"Which AUs belong to {signs}?", au_answer(units, rng)


def _emotion_example(rng: Generator) -> Pair:
    emotion = choose(rng, EMOTIONS)
    word = choose(rng, NOUNS[emotion])
    question = choose(
        rng, ("How does {w} look on a face?", "Describe a face that shows {w}.", "Give an example of {w}.")
    )
    return question.format(w=word), emotion_answer(emotion, draw_prototype(emotion, rng), rng)


def _emotion_word(rng: Generator) -> Pair:
    emotion = choose(rng, EMOTIONS)
    words = [*NOUNS[emotion], *ADJECTIVES[emotion]]
    word = choose(rng, words)
    others = [w for w in words if w != word]
    meaning = f"it is close to {join(others)}" if others else "it is the state of rest"
    return (
        f"What does the word {word} mean?",
        f"The word {word} belongs to {emotion.lower()}. {sentence(meaning)}",
    )


def _emotion_units(rng: Generator) -> Pair:
    emotion = choose(rng, [e for e in EMOTIONS if e != "Neutral"])
    units = sorted(draw_prototype(emotion, rng))
    return f"Which AUs can make up {choose(rng, NOUNS[emotion])}?", au_answer(units, rng)


_KINDS: tuple[Callable[[Generator], Pair], ...] = (
    _what_is, _which_unit, _which_number, _muscle, _region, _describe_several, _describe_several,
    _list_several, _emotion_example, _emotion_example, _emotion_word, _emotion_units,
)  # fmt: skip


def _any_unit(rng: Generator) -> int:
    numbers = sorted(CLAUSES)
    return numbers[int(rng.integers(len(numbers)))]


def glossary(count: int, seed: int) -> list[Pair]:
    """``count`` questions and answers, kinds in turn; the first n of them are the same whatever the count."""
    pairs = []
    for index in range(count):
        rng = np.random.default_rng([seed, 0x6C05, index])
        pairs.append(_KINDS[index % len(_KINDS)](rng))
    return pairs
