"""What a parser returns: the value it read, and why."""

from __future__ import annotations

from typing import NamedTuple


class EmotionParse(NamedTuple):
    """A class name, or None when the text gives none, and the evidence in a few words."""

    value: str | None
    evidence: str


class AUParse(NamedTuple):
    """AU numbers, whether the text speaks of action units at all, and the evidence in a few words."""

    value: tuple[int, ...]
    parsed: bool
    evidence: str
