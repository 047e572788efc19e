"""Numbers on a scale out of free text: intensities of action units (0 to 5), valence and arousal (-1 to 1).

Read are JSON, ``AU12: 3``, ``AU12 = 3/5``, ``AU12 (lip corner puller) at intensity 3``, FACS letters (``AU12C``) and
words (trace, slight, marked, severe, maximum), ``AU1 and AU2: 2``, table cells, ``valence is 0.3``. A value outside the
scale, two values for one label, or a range instead of a value is no value, never a clipped one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from faba_bench.thoughts import strip_thoughts

_LETTERS = {letter: number for number, letter in enumerate("ABCDE", 1)}
_WORDS = {"trace": 1, "slight": 2, "marked": 3, "pronounced": 3, "severe": 4, "extreme": 4, "maximum": 5, "maximal": 5}
_AU = re.compile(r"\b(?:AU|action unit)s?[\s_-]*0*([1-9][0-9]?)(?:([A-E])\b|(?![0-9]))", re.IGNORECASE)
_AU_KEY = re.compile(r"[\"']0*([1-9][0-9]?)[\"']\s*:", re.IGNORECASE)
_VA = re.compile(r"\b(valence|arousal)\b", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(%?)(?![0-9.]*\w)")
_RANGE = re.compile(
    r"[(\[]?\s*(?<![\w.])([-+]?[0-9]+(?:\.0+)?)\s*(?:to|and|through|\.\.+|,|-)\s*([-+]?[0-9]+(?:\.0+)?)(?![\w]|\.[0-9])\s*[)\]]?",
    re.IGNORECASE,
)
_VAGUE = re.compile(r"[0-9]\s*(?:to|or|-|~)\s*[-+]?[0-9]|\bbetween\b[^0-9]*[0-9.]+\s+and\s+[-+]?[0-9]", re.IGNORECASE)
_ABSENT = re.compile(r"\b(?:not|no|isn't|absent|inactive|none|without|neither)\b", re.IGNORECASE)
_JOINED = re.compile(r"[\s,/+&|]*(?:and)?[\s,/+&|]*", re.IGNORECASE)
_LONGEST = 20_000


class ScaleParse(NamedTuple):
    """What was read: label to value; `ambiguous` are labels that are named with no single value on the scale."""

    values: dict[str, float]
    ambiguous: tuple[str, ...]


def read_scale(text: str, labels: Sequence[str], low: float, high: float) -> ScaleParse:
    """The values of `labels` (AU numbers as text, or "valence" and "arousal") in an answer."""
    answer = strip_thoughts(text)
    if answer.unfinished:
        return ScaleParse({}, ())
    plain = answer.text[:_LONGEST].replace("\u2212", "-").replace("\u2013", "-").replace("*", "")
    plain = _RANGE.sub(lambda match: _unless_the_scale(match, low, high), plain)
    mentions = _mentions(plain, labels)
    found: dict[str, set[float]] = {}
    unclear: set[str] = set()
    waiting: list[str] = []
    for number, (label, end, letter, _) in enumerate(mentions):
        stop = mentions[number + 1].start if number + 1 < len(mentions) else len(plain)
        rest = plain[end:stop]
        if letter is not None:
            value: float | None = float(letter)
        elif number + 1 < len(mentions) and _JOINED.fullmatch(rest):
            waiting.append(label)
            continue
        else:
            value = _value(rest, low, high)
        for name in [*waiting, label]:
            if name in labels:
                if value is None:
                    unclear.add(name)
                else:
                    found.setdefault(name, set()).add(value)
        waiting = []
    unclear = {name for name in unclear if name not in found} | {name for name, all_ in found.items() if len(all_) > 1}
    values = {name: next(iter(all_)) for name, all_ in found.items() if name not in unclear}
    return ScaleParse(values, tuple(sorted(unclear)))


def _unless_the_scale(match: re.Match[str], low: float, high: float) -> str:
    """ "from 0 to 5" says what the scale is, and not a value; another range is left as it is."""
    return " " if (float(match[1]), float(match[2])) == (low, high) else match[0]


class _Mention(NamedTuple):
    label: str
    end: int
    letter: int | None
    start: int


def _mentions(text: str, labels: Sequence[str]) -> list[_Mention]:
    if "valence" in labels:
        return [_Mention(match[1].lower(), match.end(), None, match.start()) for match in _VA.finditer(text)]
    found = [
        _Mention(match[1], match.end(), _LETTERS[match[2].upper()] if match[2] else None, match.start())
        for match in _AU.finditer(text)
    ]
    found += [_Mention(match[1], match.end() - 1, None, match.start()) for match in _AU_KEY.finditer(text)]
    return sorted(found, key=lambda mention: mention.start)


def _value(rest: str, low: float, high: float) -> float | None:
    """The value behind a label; None where there is none on the scale, or no single one."""
    rest = re.split(r"\n\s*\n|[.;!?](?=\s|$)", rest, maxsplit=1)[0]
    inside = re.sub(r"\([^()0-9]*\)", " ", rest)
    shares = re.sub(r"(?<=[0-9])\s*(?:/|out of)\s*[0-9.]+", " ", inside)
    if _VAGUE.search(shares):
        return None
    numbers = _NUMBER.findall(shares)
    if numbers:
        value = float(numbers[0][0])
        return value if not numbers[0][1] and low <= value <= high else None
    if low == 0:
        if _ABSENT.search(inside):
            return 0.0
        words = [_WORDS[word] for word in re.findall(r"[a-z]+", inside.lower()) if word in _WORDS]
        if len(set(words)) == 1:
            return float(words[0])
        letters = re.findall(r"\b(?:intensity|level)\s*:?\s*([A-E])\b", inside)
        if len(letters) == 1:
            return float(_LETTERS[letters[0]])
    return None


def parse_scale_label(label: object, labels: Sequence[str], low: float, high: float) -> dict[str, float]:
    """An annotation's values: an object of label ("12", "AU12", "valence") and number.

    Labels that are not of the protocol's are dropped; null means not coded. Raises ValueError for anything else.
    """
    if not isinstance(label, Mapping):
        raise ValueError(f"the label must be an object of label and number, such as {{{labels[0]!r}: 0}}")
    found: dict[str, float] = {}
    for key, value in label.items():
        name = re.sub(r"^AU[ _]?0*", "", str(key).strip(), flags=re.IGNORECASE).lower()
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"the value of {str(key)[:40]!r} must be a number from {low:g} to {high:g}")
        if name in found:
            raise ValueError(f"{str(key)[:40]!r} is there twice")
        found[name] = float(value)
    kept = {name: found[name] for name in labels if name in found}
    if not kept:
        raise ValueError(f"the label names none of {', '.join(labels)}")
    return kept
