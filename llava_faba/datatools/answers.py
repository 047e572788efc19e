"""What an answer says about action units and emotion, by FABA-Bench's careful parsers."""

from __future__ import annotations

from typing import NamedTuple

from llava_faba.records.vocabulary import AU_NAMES, CONTEMPT, EMOTIONS


class AUReading(NamedTuple):
    """AU numbers that a text affirms, and those that it mentions only to deny."""

    stated: frozenset[int]
    denied: frozenset[int]
    says_something: bool


def read_aus(text: str, extra: frozenset[int] = frozenset()) -> AUReading:
    """Read every FACS number and those in ``extra``; ``says_something`` also for "no action units"."""
    from faba_bench.strict.au import read_aus as read

    parse = read(text, frozenset(AU_NAMES) | extra)
    stated = frozenset(parse.value)
    return AUReading(stated, frozenset(parse.denied) - stated, parse.parsed)


def read_emotion(text: str) -> str | None:
    """The class that a text names (one of the seven, or Contempt), or None."""
    from faba_bench.strict.emotion import read_emotion as read

    return read(text, (*EMOTIONS, CONTEMPT)).value
