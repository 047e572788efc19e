"""Answers about emotions: the class in the first sentence, then what the face shows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.random import Generator

from .wording import choose, join, sentence

NOUNS: dict[str, tuple[str, ...]] = {
    "Happiness": ("happiness", "joy", "amusement"),
    "Sadness": ("sadness", "anguish", "distress"),
    "Surprise": ("surprise", "astonishment", "disbelief"),
    "Anger": ("anger", "agitation", "frustration"),
    "Neutral": ("neutrality",),
    "Disgust": ("disgust", "distaste", "disapproval"),
    "Fear": ("fear", "anxiety", "apprehension"),
}
ADJECTIVES: dict[str, tuple[str, ...]] = {
    "Happiness": ("happy", "joyful", "cheerful"),
    "Sadness": ("somber",),
    "Surprise": ("surprised", "startled"),
    "Anger": ("outraged", "enraged", "irritated"),
    "Neutral": ("neutral", "calm"),
    "Disgust": ("disgusted",),
    "Fear": (),
}
"""Words of FABA-Bench's lists that belong to one class only. Reference mode drops a sentence that holds "no"
or "not" anywhere, even inside a word: so there is no "annoyed" here, and no nose in any answer."""

_WITH_NOUN = (
    "the face conveys {word}",
    "this face expresses {word}",
    "the expression is one of {word}",
    "the face shows signs of {word}",
    "the person seems to feel {word}",
)
_WITH_ADJECTIVE = (
    "the person looks {word}",
    "the face appears {word}",
    "this is a clearly {word} face",
    "the expression seems {word}",
)

SIGNS: dict[int, tuple[str, ...]] = {
    1: ("raised inner brows", "inner brows that tilt up"),
    2: ("arched outer brows", "outer brows that go up"),
    4: ("lowered brows", "brows drawn together"),
    5: ("wide open eyes", "upper lids pulled up"),
    6: ("lifted cheeks", "cheeks pushed up under the eyes"),
    10: ("a raised upper lip", "an upper lip pulled up"),
    12: ("lip corners pulled up", "mouth corners that curve up"),
    15: ("lip corners pulled down", "mouth corners that sink"),
    17: ("a raised chin", "a chin pushed up"),
    20: ("lips stretched sideways", "a mouth pulled wide"),
    24: ("lips pressed together", "thin pressed lips"),
    25: ("parted lips", "a slightly open mouth"),
    26: ("a dropped jaw", "a jaw that hangs open"),
    43: ("closed eyes", "shut lids"),
}
_AT_REST = (
    "level brows", "brows at rest", "a closed mouth", "a resting mouth", "evenly open eyes", "a still jaw",
    "cheeks at rest", "lips that meet lightly",
)  # fmt: skip
_REASONS = (
    "this is seen in {signs}",
    "one can see {signs}",
    "the main cues are {signs}",
    "this comes from {signs}",
    "the face has {signs}",
)
_ENDINGS = (
    "these cues fit together well",
    "the cues point the same way",
    "the whole face takes part",
    "the cues are easy to see",
)
SHORTEST, LONGEST = 12, 35
"""Words in an answer, counted between spaces."""


def emotion_answer(emotion: str, units: Iterable[int], rng: Generator) -> str:
    """One to three sentences: the class by one of its words, then the signs that the units leave on the face.

    Args:
        emotion: a class of :data:`llava_faba.demo.texts.EMOTIONS`.
        units: the action units of the face, none for a neutral one.

    Raises:
        ValueError: an unknown class.
    """
    if emotion not in NOUNS:
        raise ValueError(f"unknown emotion class {emotion!r}; there are: {', '.join(NOUNS)}")
    nouns, adjectives = NOUNS[emotion], ADJECTIVES[emotion]
    if adjectives and rng.random() < 0.5:
        first = choose(rng, _WITH_ADJECTIVE).format(word=choose(rng, adjectives))
    else:
        frames = _WITH_NOUN if emotion != "Neutral" else _WITH_NOUN[:-1]
        first = choose(rng, frames).format(word=choose(rng, nouns))
    signs = _signs(sorted(set(units)), rng)
    parts = [sentence(first), sentence(choose(rng, _REASONS).format(signs=join(signs)))]
    if rng.random() < 0.35 or _words(parts) < SHORTEST:
        parts.append(sentence(choose(rng, _ENDINGS)))
    while _words(parts) > LONGEST:
        parts.pop()
    return " ".join(parts)


def _signs(units: list[int], rng: Generator) -> list[str]:
    if not units:
        picked = rng.choice(len(_AT_REST), size=3, replace=False)
        return [_AT_REST[int(i)] for i in np.sort(picked)]
    count = min(len(units), 4)
    picked = np.sort(rng.choice(len(units), size=count, replace=False))
    return [choose(rng, SIGNS[units[int(i)]]) for i in picked]


def _words(parts: list[str]) -> int:
    return sum(len(part.split()) for part in parts)
