"""Finding the places where a text speaks of action units, by number or by name."""

from __future__ import annotations

import re
from typing import NamedTuple

from faba_bench.strict import facs

# "AU12", "AU 12", "au_12", "AU-12", "AU#12", "AU L12", "Action Unit 12"; at most three digits, so that
# a text of digits cannot pretend to be a number.  "12R", "12C", "12RC" are a side and an intensity.
_NUMBER = r"[LRTB]?([0-9]{1,3})(?:[LRTB]?[A-E]?|[A-E][LRTB])(?![0-9A-Za-z])"
_FILLER = (
    r"(?:\s*(?:[:#=_-]|\b(?:are|is|include|includes|including|numbers?|nos?\.|of|the|following|present|visible|"
    r"active|activated|detected|observed|seen|shown|conveyed|expressed|displayed|involved|in|by|on|this|that|"
    r"face|image|picture|photo|person)\b))*\s*"
)
_SINGULAR = re.compile(rf"(?<![A-Za-z])(?:AU|action\s+unit)\s*[-:#_=]?\s*{_NUMBER}", re.IGNORECASE)
_PLURAL = re.compile(rf"(?<![A-Za-z])(?:AUs|action\s+units?|AU)\b{_FILLER}{_NUMBER}", re.IGNORECASE)
_TIGHT = re.compile(rf"\s*[+/&]\s*(?:AU\s*)?{_NUMBER}", re.IGNORECASE)
_LOOSE = re.compile(rf"[ \t]*(?:,[ \t]*(?:and|or|nor)?|\b(?:and|or|nor)\b)[ \t]*{_NUMBER}", re.IGNORECASE)
# What may follow a number that a bare "AU 1, 2 and 4" goes on with.  "AU12 and 3 wrinkles" must not count.
_AFTER_LOOSE = re.compile(
    r"\s*(?:$|[,;)\]\n+/&]|\.(?:\s*$|\s+[^\W\d_])|(?:and|or|nor|are|is|were|was|as|with|in|on|but)\b)",
    re.IGNORECASE,
)
_BARE = re.compile(r"\s*[\[(]?\s*([0-9]{1,3})((?:\s*(?:[,;+/&\s]|\band\b)\s*[0-9]{1,3})*)\s*[\])]?\s*\.?\s*")
_GLOSS_BEHIND = re.compile(r"\s*(?:[(:,–—-]|\bi\.?e\.?,?|\bthe\b|\bor\b|\s)*\s*(?:the\s+)?", re.IGNORECASE)
_GLOSS_BEFORE = re.compile(r"\s*[(\[]\s*(?:AU|action\s+unit)\s*[-:#_]?\s*[LRTB]?([0-9]{1,3})[A-E]?\s*[)\]]", re.I)


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
    bare = _BARE.fullmatch(text)
    if bare:
        numbers = tuple(int(digits) for digits in re.findall(r"[0-9]{1,3}", text))
        return [Mention(0, len(text), numbers)]
    numbered = _numbered(text)
    named = list(facs.NAME.finditer(text))
    found: list[Mention] = []
    for mention in numbered:
        found.append(_with_gloss(text, mention, named))
    taken = [(mention.start, mention.end) for mention in found]
    for match in named:
        if not any(start < match.end() and match.start() < end for start, end in taken):
            found.append(Mention(match.start(), match.end(), (facs.number_of(match),)))
    return sorted(found)


def _numbered(text: str) -> list[Mention]:
    found: list[Mention] = []
    position = 0
    while True:
        singular = _SINGULAR.search(text, position)
        plural = _PLURAL.search(text, position)
        first = min((match for match in (singular, plural) if match), key=lambda match: match.start(), default=None)
        if first is None:
            return found
        is_plural = re.match(r"AUs|action\s+units", first.group(), re.IGNORECASE) is not None
        mention = _continued(text, first, is_plural or first is not singular)
        found.append(mention)
        position = mention.end


def _continued(text: str, first: re.Match[str], is_plural: bool) -> Mention:
    numbers = [int(first.group(1))]
    end = first.end()
    while True:
        tight = _TIGHT.match(text, end)
        if tight:
            numbers.append(int(tight.group(1)))
            end = tight.end()
            continue
        loose = _LOOSE.match(text, end)
        if loose and (is_plural or _AFTER_LOOSE.match(text, loose.end())):
            numbers.append(int(loose.group(1)))
            end = loose.end()
            continue
        return Mention(first.start(), end, tuple(numbers))


def _with_gloss(text: str, mention: Mention, named: list[re.Match[str]]) -> Mention:
    """Stretch a mention over the name that explains it, behind ("AU4 - Brow Lowerer") or before it."""
    start, end = mention.start, mention.end
    for match in named:
        if end <= match.start() <= end + 8 and _GLOSS_BEHIND.fullmatch(text, end, match.start()):
            end = match.end()
            if text[end : end + 1] == ")":
                end += 1
        elif match.end() <= start:
            before = _GLOSS_BEFORE.match(text, match.end())
            if before and before.end() >= mention.end and before.start(1) < mention.end:
                start, end = match.start(), max(end, before.end())
    return Mention(start, end, mention.numbers)
