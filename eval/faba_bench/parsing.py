"""What a parser returns: the value it read, and why."""

from __future__ import annotations

from typing import NamedTuple


class EmotionParse(NamedTuple):
    """A class name, or None when the text gives none, and the evidence in a few words.

    `ambiguous` says why a structure that was recognised could not be told, "" otherwise.
    """

    value: str | None
    evidence: str
    ambiguous: str = ""


class AUParse(NamedTuple):
    """AU numbers, whether the text speaks of action units at all, and the evidence in a few words.

    `ambiguous` as for emotions; `denied` are the numbers that the text only denies.
    """

    value: tuple[int, ...]
    parsed: bool
    evidence: str
    ambiguous: str = ""
    denied: tuple[int, ...] = ()
