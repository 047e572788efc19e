"""Questions and answers for data that has labels only.

Converted datasets come with no explanation, so an answer states the labels and nothing else. Every wording
is chosen so that FABA-Bench's reference parser reads the same labels back; for emotion that means no
sentence may contain the letters of a negation anywhere ("no" hides in "nose" and "know") or a word of
another class's list.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from faba_bench.questions import QUESTIONS

from llava_faba.records.vocabulary import AU_NAMES, au_phrase

QUESTION_VARIANTS: dict[str, tuple[str, ...]] = {
    "au": (
        QUESTIONS["au"],
        "Which facial action units are active in this picture?",
        "List the action units that you can see in this face.",
        "Code this face with the Facial Action Coding System.",
        "Which AUs does the person in this image show?",
        "Name every action unit present in this facial expression.",
    ),
    "emotion": (
        QUESTIONS["emotion"],
        "What is the emotion of this face?",
        "Which emotion does this person express?",
        "How would you describe the emotion in this face?",
        "Name the emotion that this facial expression conveys.",
        "Which basic emotion can be read from this face?",
    ),
}

EMOTION_TEMPLATES: tuple[str, ...] = (
    "The emotion conveyed by this face is {name}.",
    "This face expresses {name}.",
    "The facial expression in this image shows {name}.",
    "The person in this picture displays {name}.",
    "This is a face of {name}.",
)

NO_AU_TEMPLATES: tuple[str, ...] = (
    "No action units are conveyed by this face.",
    "There is no active action unit in this face.",
    "The face is at rest, without any active action unit.",
)


def _listing(aus: Sequence[int]) -> str:
    return " ".join(f"{au_phrase(au)}." for au in aus)


def _sentence(aus: Sequence[int]) -> str:
    named = [f"AU{au} ({AU_NAMES[au].lower()})" if au in AU_NAMES else f"AU{au}" for au in aus]
    if len(named) == 1:
        return f"The action unit conveyed by this face is {named[0]}."
    return f"The action units conveyed by this face are {', '.join(named[:-1])} and {named[-1]}."


def _numbered(aus: Sequence[int]) -> str:
    return "\n".join(f"{i}. {au_phrase(au)}." for i, au in enumerate(aus, start=1))


_AU_FORMS = (_listing, _sentence, _numbered)


def question(task: str, rng: random.Random | None = None) -> str:
    """The benchmark's question of ``task``; with ``rng`` one of several wordings."""
    return QUESTIONS[task] if rng is None else rng.choice(QUESTION_VARIANTS[task])


def au_answer(aus: Sequence[int], rng: random.Random | None = None) -> str:
    """An answer naming exactly ``aus`` (ascending); with ``rng`` in one of several forms."""
    if not aus:
        return NO_AU_TEMPLATES[0] if rng is None else rng.choice(NO_AU_TEMPLATES)
    form = _AU_FORMS[0] if rng is None else rng.choice(_AU_FORMS)
    return form(sorted(aus))


def emotion_answer(name: str, rng: random.Random | None = None) -> str:
    """A sentence naming the class ``name``; with ``rng`` one of several sentences."""
    template = EMOTION_TEMPLATES[0] if rng is None else rng.choice(EMOTION_TEMPLATES)
    return template.format(name=name.lower())
