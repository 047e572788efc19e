"""Finding the places where a text speaks of action units, by number or by name.

Every pattern here is linear in the text: no two neighbouring parts match the same white space.
"""

# ruff: noqa: E501  (patterns read better on one line)
from __future__ import annotations

import re
from bisect import bisect_left
from typing import NamedTuple

from faba_bench.strict import facs
from faba_bench.strict.folded import folded

# "AU12", "AU 12", "au_12", "AU-12", "AU#12", "AU L12", "Action Unit 12"; at most three digits, so that
# a text of digits cannot pretend to be a number.  "12R", "12C", "12RC" are a side and an intensity.
_NUMBER = r"[LRTB]?([0-9]{1,3})(?:[LRTB]?[A-E]?|[A-E][LRTB])(?![0-9A-Za-z])"
_FILLER = (
    r"(?:\s*(?:[:#=_-]|[(\[](?=\s*\d{1,2}\s*(?:[,;&+/)\]]|and\b|or\b))|\b(?:are|is|include|includes|including|numbers?|nos?\.|of|the|following|present|visible|"
    r"active|activated|detected|observed|seen|shown|conveyed|expressed|displayed|involved|in|by|on|this|that|"
    r"face|image|picture|photo|person)\b))*\s*"
)
_FIRST = re.compile(
    rf"(?<![A-Za-z])(?:(?:AU|action\s+unit)\s*(?:[-:#_=]\s*)?{_NUMBER}|"
    rf"(?P<plural>(?:AUs|action\s+units?|AU)\b{_FILLER}(?!1[.)]\s+\S){_NUMBER}))",
    re.IGNORECASE,
)
_TIGHT = re.compile(rf"\s*[+/&]\s*(?:AU\s*)?{_NUMBER}", re.IGNORECASE)
_LOOSE = re.compile(rf"[ \t]*(?:,[ \t]*(?:(?:and|or|nor)[ \t]+)?|\b(?:and|or|nor)[ \t]+){_NUMBER}", re.IGNORECASE)
# "The action units are: 1. AU4": the "1" counts the list.  Likewise "AU4, 2. AU6" below.
_COUNTED = re.compile(r"[.)]\s+(?:\*+\s*)?", re.IGNORECASE)
_UNIT = re.compile(r"AU|action\s+unit", re.IGNORECASE)
# What may follow a number that a bare "AU 1, 2 and 4" goes on with.  "AU12 and 3 wrinkles" must not count.
_AFTER_LOOSE = re.compile(
    r"\s*(?:$|[,;)\]\n+/&]|\.(?:\s*$|\s+[^\W\d_])|(?:and|or|nor|are|is|were|was|as|with|in|on|but)\b)",
    re.IGNORECASE,
)
_LABEL_CHARACTERS = 200
_BARE = re.compile(
    r"[\s\[(]*[LRBTU]?[0-9]{1,3}[A-E]?(?:(?:[\s,;+/&]+|\s*\band\b\s*|\s*,\s*and\s+)[LRBTU]?[0-9]{1,3}[A-E]?)*[\s\])]*\.?\s*"
)
_GLOSS_GAP = 8
_GLOSS_BEHIND = re.compile(r"(?:[\s(:,–—-]|\bi\.e\.|\bthe\b|\bor\b)*", re.IGNORECASE)
_GLOSS_BEFORE = re.compile(r"\s*[(\[]\s*")


_CODE = r"(?:[LRTBU]?\d{1,2}[A-E]?)"
#: "1+4+15", "6C+12D", "R1A + L2B".
_SUM = re.compile(rf"(?<![\w.+]){_CODE}(?:\s?\+\s?{_CODE}){{1,12}}(?![\w%]|\.\d)")
#: Codes that a letter tells from other numbers: "L12B", "R14A", "4D, 5B, 7C", "Lower face: 23B".
_LETTERED = re.compile(
    r"(?<![\w.+])(?:[LRBU]\d{1,2}[A-E]?|(?<=: )\d{1,2}[A-E]|\d{1,2}[A-E](?=\s?[,;&]\s?\d{1,2}[A-E]\b)|(?<=[A-E], )\d{1,2}[A-E]|(?<=[A-E],)\d{1,2}[A-E]|"
    r"(?<=[A-E]; )\d{1,2}[A-E])(?![\w%]|\.\d)"
)
_DIGIT = re.compile(r"\d\s?\+|\d[A-E]|[LRBU]\d|\+\s?\d")
_LISTED = re.compile(
    r"(?<![\w./%])\d{1,2}(?:,\s\d{1,2}){0,8},?\sand\s\d{1,2}(?=\s(?:are|were)\s(?:\w+\s)?(?:active|present|visible|absent|inactive|coded|scored|seen|not)\b)"
)
_BARE_NUMBER = re.compile(r"\s\d{1,2}[\s,/&+]")
_DIGITS = re.compile(r"\d\s(?:are|were)\s")
_KNOWN = frozenset(facs.NAMES)


class Mention(NamedTuple):
    """AU numbers named together at `start`..`end` of the text."""

    start: int
    end: int
    numbers: tuple[int, ...]


def find_mentions(text: str) -> list[Mention]:
    """All mentions in order, without overlaps.

    A name that only explains a number beside it ("AU9 (Lip Corner Puller)", "Jaw Drop (AU26)") belongs to
    that mention: where the two disagree, the number counts.
    """
    if is_bare_list(text):
        return [Mention(0, len(text), tuple(int(digits) for digits in re.findall(r"[0-9]+", text)))]
    named = facs.find_names(folded(text))
    starts = [name[0] for name in named]
    covered = bytearray(len(text))
    found: list[Mention] = []
    for mention in _numbered(text):
        start, end = _stretched(text, mention, named, starts)
        found.append(Mention(start, end, mention.numbers))
        covered[start:end] = b"\x01" * (end - start)
    found += [Mention(start, end, (number,)) for start, end, number in named if not any(covered[start:end])]
    for pattern in (_SUM, _LETTERED) if _DIGIT.search(text) else ():
        for match in pattern.finditer(text):
            if not any(covered[match.start() : match.end()]):
                numbers = tuple(int(digits) for digits in re.findall(r"\d+", match.group()))
                if pattern is _SUM or _KNOWN.issuperset(numbers):
                    covered[match.start() : match.end()] = b"\x01" * (match.end() - match.start())
                    found.append(Mention(match.start(), match.end(), numbers))
    if " and " in text and _DIGITS.search(text):
        for match in _LISTED.finditer(text):
            numbers = tuple(int(digits) for digits in re.findall(r"\d+", match.group()))
            if not any(covered[match.start() : match.end()]) and _KNOWN.issuperset(numbers):
                covered[match.start() : match.end()] = b"\x01" * (match.end() - match.start())
                found.append(Mention(match.start(), match.end(), numbers))
        found.sort()
    if found and " " in text:
        for match in _LATER.finditer(text, found[0].end) if _BARE_NUMBER.search(text, found[0].end) else ():
            numbers = tuple(int(digits) for digits in re.findall(r"\d+", match.group()))
            if not any(covered[match.start() : match.end()]) and _KNOWN.issuperset(numbers):
                found.append(Mention(match.start(), match.end(), numbers))
    return sorted(found)


def is_bare_list(text: str) -> bool:
    """Whether a text is nothing but numbers: "1, 4, 25"."""
    return len(text) <= _LABEL_CHARACTERS and _BARE.fullmatch(text) is not None


def _numbered(text: str) -> list[Mention]:
    found: list[Mention] = []
    first = _FIRST.search(text)
    while first:
        mention = _continued(text, first)
        found.append(mention)
        first = _FIRST.search(text, mention.end)
    return found


_RANGE = re.compile(r"\s?(?:-|–|to|through)\s?(?:AU\s?)?(\d{1,2})(?![\w%.]*\d)", re.IGNORECASE)
_PLURAL = re.compile(r"AUs|action\s+units", re.IGNORECASE)
#: "while 6/12 are present", "as are 1, 2 and 4": numbers that go on with units named before.
_LATER = re.compile(
    r"(?<![\w./%:])(?P<list>\d{1,2}(?:\s?[/,&+]\s?\d{1,2}|,?\s(?:and|or)\s\d{1,2}){0,8})(?=\s(?:are|is|were|was|remain|do|does|present|absent|active|inactive|visible|not)\b)|"
    r"(?:(?<=\bas are )|(?<=\bso are )|(?<=\bas is )|(?<=\bwhile )|(?<=\bbut not )|(?<=\bwithout ))(?P<more>\d{1,2}(?:\s?[/,&+]\s?\d{1,2}|,?\s(?:and|or)\s\d{1,2}){0,8})(?![\w%/]|\.\d)"
)


def _continued(text: str, first: re.Match[str]) -> Mention:
    plural = first.group("plural") is not None
    numbers = [int(first.group(3) if plural else first.group(1))]
    end = first.end()
    if plural and _PLURAL.match(first.group()):
        reach = _RANGE.match(text, end)
        if reach and numbers[0] < int(reach.group(1)):  # "AUs 1-4"
            numbers += [number for number in facs.NAMES if numbers[0] < number <= int(reach.group(1))]
            end = reach.end()
    while True:
        more = _TIGHT.match(text, end)
        if not more:
            more = _LOOSE.match(text, end)
            if not more or not _goes_on(text, more, plural):
                return Mention(first.start(), end, tuple(numbers))
        numbers.append(int(more.group(1)))
        end = more.end()


def _goes_on(text: str, more: re.Match[str], plural: bool) -> bool:
    counted = _COUNTED.match(text, more.end())
    if counted and (_UNIT.match(text, counted.end()) or facs.NAME.match(folded(text), counted.end())):
        return False
    return plural or _AFTER_LOOSE.match(text, more.end()) is not None


def _stretched(text: str, mention: Mention, named: list[tuple[int, int, int]], starts: list[int]) -> tuple[int, int]:
    """A mention's place with the name that explains it, behind ("AU4 - Brow Lowerer") or before it."""
    start, end = mention.start, mention.end
    index = bisect_left(starts, start)
    if index:
        before = named[index - 1]
        if start - before[1] <= _GLOSS_GAP and _GLOSS_BEFORE.fullmatch(text, before[1], start):
            return before[0], end + 1 if text[end : end + 1] in (")", "]") else end
    index = bisect_left(starts, end)
    if index < len(named):
        behind = named[index]
        if behind[0] - end <= _GLOSS_GAP and _GLOSS_BEHIND.fullmatch(text, end, behind[0]):
            end = behind[1]
            if text[end : end + 1] == ")":
                end += 1
    return start, end
