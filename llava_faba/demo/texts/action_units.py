"""Answers about action units."""

from __future__ import annotations

from collections.abc import Iterable

from numpy.random import Generator

from ..faces.action_units import ACTION_UNITS
from .wording import choose, join, sentence

CLAUSES: dict[int, tuple[str, ...]] = {
    1: ("the inner brows are raised", "the inner ends of the brows go up", "the inner brows lift"),
    2: ("the outer brows are raised", "the outer ends of the brows go up", "the outer brows arch"),
    4: ("the brows are pulled together", "the brows are lowered", "the brows are drawn down"),
    5: ("the upper lids are raised", "the eyes are opened wide", "the upper lids pull up"),
    6: ("the cheeks are raised", "the cheeks push up the lower lids", "the cheeks lift"),
    10: ("the upper lip is raised", "the upper lip pulls up", "the upper lip lifts"),
    12: ("the lip corners are pulled up", "the mouth corners go up", "the lip corners curve up"),
    15: ("the lip corners are pulled down", "the mouth corners go down", "the lip corners sink"),
    17: ("the chin is pushed up", "the chin boss moves up", "the chin and lower lip push up"),
    20: ("the lips are stretched sideways", "the mouth is pulled wide", "the lips stretch"),
    24: ("the lips are pressed together", "the lips are pressed thin", "the lips press"),
    25: ("the lips are parted", "the mouth is slightly open", "the lips part"),
    26: ("the jaw is dropped", "the jaw hangs open", "the jaw drops"),
    43: ("the eyes are closed", "the lids are shut", "the eyes close"),
}
"""AU number -> ways of saying what is seen; the last of them is the shortest."""

REGIONS: dict[str, frozenset[int]] = {
    "brows": frozenset({1, 2, 4}),
    "eyes": frozenset({5, 6, 43}),
    "mouth": frozenset({10, 12, 15, 17, 20, 24, 25, 26}),
}
_CLOSINGS = (
    "The movement is in the {parts}.",
    "The change is seen in the {parts}.",
    "The signs lie in the {parts}.",
    "The rest of the face stays still.",
)
SHORTEST, LONGEST = 15, 45
"""Words in an answer, counted between spaces."""


def regions(units: Iterable[int]) -> list[str]:
    """The parts of the face in which the units act."""
    present = set(units)
    return [name for name, members in REGIONS.items() if members & present]


def describe_unit(number: int, clause: str) -> str:
    """One unit with its number and name, e.g. "AU4 - Brow lowerer: the brows are lowered."."""
    return f"AU{number} - {ACTION_UNITS[number].name}: {clause}."


def au_answer(units: Iterable[int], rng: Generator) -> str:
    """An answer that names the units in ascending order and describes each, in 15 to 45 words.

    Names are left out where the answer would get too long with them.

    Raises:
        ValueError: without a unit, or with one that has no wording.
    """
    numbers = sorted(set(units))
    unknown = [n for n in numbers if n not in CLAUSES]
    if not numbers or unknown:
        raise ValueError(f"can't describe the action units {numbers}; known: {sorted(CLAUSES)}")
    clauses = [choose(rng, CLAUSES[n]) for n in numbers]
    parts = [describe_unit(n, c) for n, c in zip(numbers, clauses, strict=True)]
    if _words(parts) > LONGEST:
        parts = [f"AU{n}: {c}." for n, c in zip(numbers, clauses, strict=True)]
    if _words(parts) > LONGEST:
        parts = [f"AU{n}: {CLAUSES[n][-1]}." for n in numbers]
    closing = choose(rng, _CLOSINGS).format(parts=join(regions(numbers)))
    if len(numbers) < 2 and "rest" not in closing:
        closing = f"{closing[:-1]} alone."
    total = _words([*parts, closing])
    if _words(parts) < SHORTEST or (total <= LONGEST and rng.random() < 0.4):
        parts.append(closing)
    if _words(parts) < SHORTEST:
        parts.insert(0, sentence("one action unit is active"))
    return " ".join(parts)


def _words(parts: list[str]) -> int:
    return sum(len(part.split()) for part in parts)
