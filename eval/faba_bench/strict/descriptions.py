"""Everyday descriptions of action units: "furrowed brows", "the lips are not parted", "a frown".

A description is a part of the face and what it does.  What it does is the mention, so that the grammar reads "the lips
are not parted" as it reads any other sentence.
"""

# ruff: noqa: E501  (patterns and word lists read better on one line)
from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

from faba_bench.strict.folded import folded

_OF = r"(?:\s+of)?(?:\s+(?:the|his|her|their|both|this\s+person's))?\s+"
_BROWS = r"(?:eye-?)?brows?"
#: Parts of the face; the first that matches counts.
PARTS: dict[str, str] = {
    "inner": rf"(?:inner|medial)\s+(?:(?:parts?|corners?|ends?|portions?){_OF})?{_BROWS}",
    "outer": rf"(?:outer|lateral)\s+(?:(?:parts?|corners?|ends?|portions?){_OF})?{_BROWS}",
    "brow": rf"{_BROWS}|forehead|glabella",
    "upper_lid": r"upper\s+(?:eye-?)?lids?",
    "lid": r"(?:lower\s+)?(?:eye-?)?lids?",
    "eye": r"eyes",
    "cheek": r"cheeks?",
    "nose": r"nose(?:\s+bridge)?|nostrils|bridge\s+of\s+the\s+nose",
    "upper_lip": r"upper\s+lip",
    "lower_lip": r"lower\s+lip",
    "corner": r"(?<=the\s)corners(?!\s+of)|lip\s+corners?|mouth\s+corners?|(?:corners?|edges?)\s+of\s+(?:(?:the|his|her|their)\s+)?(?:lips?|mouth)",
    "lip": r"lips",
    "boss": r"chin\s+boss",
    "chin": r"chin",
    "jaw": r"jaw",
    "mouth": r"mouth",
}

_UP = r"rais(?:ed|ing|e)|lift(?:ed|ing)?|elevat(?:ed|ion)|rise|risen"
_TOGETHER = r"(?:draw|pull|bring|brought|push)(?:n|ed|s|ing)?\s+(?:(?:down|downwards?|tightly|closely|slightly)\s+(?:and\s+)?)?(?:together|inwards?|closer)"
_DOWN = r"(?:turn|pull|draw|drawn|curv|point|angl|dragg?)(?:n|ed|e|ing)?\s+(?:slightly\s+)?(?:down(?:wards?)?)"
_UPWARD = r"(?:turn|pull|draw|drawn|curv|push|tilt)(?:n|ed|e|ing)?\s+(?:slightly\s+)?(?:up(?:wards?)?|back(?:wards?)?)"
#: (part, what it does, action units, whether it is FACS's own verb): "the brows are lowered" is AU4 in other words,
#: "furrowed brows" is everyday speech, read only where a text names no unit.
ACTIONS: tuple[tuple[str, str, tuple[int, ...], bool], ...] = (
    ("inner", _UP + r"|" + _UPWARD, (1,), True),
    ("outer", _UP + r"|" + _UPWARD, (2,), True),
    ("brow", _UP + r"|arch(?:ed|ing)|high", (1, 2), False),
    ("brow", r"lower(?:ed|ing)", (4,), True),
    ("brow", rf"furrow(?:ed|ing|s)?|knit(?:ted|ting)?|contract(?:ed|ing)|{_TOGETHER}|{_DOWN}|pinched|creased|scrunched", (4,), False),
    ("upper_lid", _UP, (5,), True),
    ("lid", r"tighten(?:ed|ing)", (7,), True),
    ("lid", r"tens(?:ed|e|ing)|narrow(?:ed|ing)|squint(?:ed|ing)", (7,), False),
    ("eye", r"wide(?:ly)?(?:[\s-]+open(?:ed)?)?|widen(?:ed|ing)?|bulging", (5,), False),
    ("eye", r"narrow(?:ed|ing)?|squint(?:ed|ing)|tight(?:ened)?|slitted", (7,), False),
    ("eye", r"(?<!slightly\s)(?<!half\s)(?<!half-)(?<!partly\s)(?<!partially\s)(?<!nearly\s)(?<!almost\s)clos(?:ed|ing)|shut", (43,), True),
    ("cheek", rf"{_UP}|push(?:ed|ing)\s+up(?:wards?)?", (6,), True),
    ("nose", r"wrinkl(?:ed|ing|es)", (9,), True),
    ("nose", r"scrunch(?:ed|ing)(?:\s+up)?|crinkl(?:ed|ing)|screwed\s+up", (9,), False),
    ("upper_lip", rf"{_UP}", (10,), True),
    ("upper_lip", r"curl(?:ed|ing|s)|pull(?:ed|ing)\s+up(?:wards?)?", (10,), False),
    ("corner", rf"{_UP}|{_UPWARD}|upturned|pulled(?!\s+(?:\w+ly\s+)?(?:down|in|side|lat|apart))", (12,), True),
    ("corner", rf"{_DOWN}|depress(?:ed|ing|ion)|lower(?:ed|ing)|downturned|droop(?:ing|ed)?", (15,), True),
    ("lower_lip", rf"depress(?:ed|ing)|{_DOWN}", (16,), True),
    ("boss", rf"{_UP}|push(?:ed|ing)\s+up(?:wards?)?|wrinkl(?:ed|ing)", (17,), True),
    ("chin", r"push(?:ed|ing)\s+up(?:wards?)?|bunched|dimpl(?:ed|ing)|puckered|wrinkl(?:ed|ing)", (17,), False),
    ("lip", r"pucker(?:ed|ing)", (18,), True),
    ("lip", r"stretch(?:ed|ing)", (20,), True),
    ("lip", r"tighten(?:ed|ing)", (23,), True),
    ("lip", r"press(?:ed|ing)", (24,), True),
    ("lip", r"part(?:ed|ing)", (25,), True),
    ("lip", r"apart|separated|open", (25,), False),
    ("jaw", r"drop(?:ped|ping|s)?", (26,), True),
    ("jaw", r"lower(?:ed|ing)|open|slack|hang(?:s|ing)", (26,), False),
    ("mouth", r"(?:hang(?:s|ing)|wide|gap(?:es|ing)|drop(?:s|ped))[\s-]+(?:wide[\s-]+)?open|agape|gaping", (25, 26), False),
    ("mouth", r"open(?:ed)?|ajar", (25,), False),
    ("mouth", r"stretch(?:ed|ing)\s+(?:(?:wide|far)\s+)?(?:open|vertically)", (27,), True),
    ("mouth", rf"{_DOWN}|downturned", (15,), False),
    ("mouth", rf"{_UPWARD}|upturned", (12,), False),
)  # fmt: skip
#: Words that say it all.
ALONE: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"frown(?:s|ing|ed)?|scowl(?:s|ing|ed)?", (4,)),
    (r"squint(?:s|ing|ed)?", (7,)),
    (r"smil(?:e|es|ing|ed)|grin(?:s|ning|ned)?", (12,)),
)
#: States of rest of a part, and the units that they deny when an answer explains these.
AT_REST: dict[str, tuple[int, ...]] = {
    "closed": (5, 25, 26, 27),
    "shut": (5, 25, 26, 27),
    "sealed": (25, 26, 27),
    "together": (25, 26, 27),
    "open": (24, 43),
    "opened": (24, 43),
}

_LONGEST_GAP = 60
_PART = re.compile(rf"\b(?:{'|'.join(f'(?P<{name}>{pattern})' for name, pattern in PARTS.items())})\b")


def _branches(pattern: str) -> list[str]:
    """The alternatives of a pattern, cut at each "|" outside brackets."""
    depth, start, found = 0, 0, []
    for index, character in enumerate(pattern):
        depth += (character == "(") - (character == ")")
        if character == "|" and not depth:
            found.append(pattern[start:index])
            start = index + 1
    return [*found, pattern[start:]]


def stems(pattern: str) -> tuple[str, ...]:
    """Letters that the alternatives of a pattern begin with: a text without any of them does not match it."""
    found: list[str] = []
    for branch in _branches(pattern):
        if branch.startswith("(?:"):
            close = next(i for i in range(len(branch)) if branch[: i + 1].count("(") == branch[: i + 1].count(")") > 0)
            optional = branch[close + 1 : close + 2] in ("?", "*")
            found += ("",) if optional else stems(branch[3:close])
            continue
        letters = re.match(r"[a-z]*", branch)
        stem = letters.group() if letters else ""
        found.append(stem[:-1] if branch[len(stem) : len(stem) + 1] in ("?", "*", "{") else stem)
    return tuple(dict.fromkeys(found))


_ACTION = {
    part: [
        (re.compile(rf"\b(?:{pattern})\b"), stems(pattern), units, facs)
        for name, pattern, units, facs in ACTIONS
        if name == part
    ]
    for part in PARTS
}
_ALONE = [(re.compile(rf"\b(?:{pattern})\b"), units) for pattern, units in ALONE]
_HINT = re.compile(r"brow|lid|eyes|cheek|nose|nostril|lip|mouth|chin|jaw|forehead|frown|scowl|squint|smil|grin")
_BREAK = re.compile(r"[.;:!?\n]")
_ADJECTIVAL = re.compile(
    r"-?(?:\s+and\s+\w+ed)?\s*(?:\s+of(?:\s+(?:the|his|her|their|both|person's))*)?(?:\s+(?:inner|outer|both|upper|lower|left|right|and))*\s+\Z|-\Z",
)

_POSSESSED = re.compile(r"\s+(?:his|her|their|the|both|its)\s+")


class Description(NamedTuple):
    """What a part does, at its place; `facs` where it is FACS's own verb."""

    start: int
    end: int
    units: tuple[int, ...]
    facs: bool


def find_descriptions(text: str) -> list[Description]:
    """All descriptions in order, without overlaps."""
    text = folded(text)
    if not _HINT.search(text):
        return []
    parts = list(_PART.finditer(text))
    ends = [part.end() for part in parts]
    found: list[Description] = []
    kinds = dict.fromkeys(str(part.lastgroup) for part in parts)
    for kind in kinds:
        for pattern, beginnings, units, facs in _ACTION[kind]:
            if not any(beginning in text for beginning in beginnings):
                continue
            for match in pattern.finditer(text):
                owner = _owner(text, match, parts, ends)
                if owner == kind:
                    found.append(Description(match.start(), match.end(), units, facs))
    for pattern, units in _ALONE:
        found += [Description(match.start(), match.end(), units, False) for match in pattern.finditer(text)]
    found.sort(key=lambda item: (item.start, -item.end))
    kept: list[Description] = []
    for item in found:
        if not kept or item.start >= kept[-1].end:
            kept.append(item)
    return kept


def _owner(text: str, match: re.Match[str], parts: list[re.Match[str]], ends: list[int]) -> str | None:
    """The part that an action is said of: the one right behind ("raised brows"), or the nearest one before it."""
    index = bisect_right(ends, match.start())
    if index < len(parts):
        behind = parts[index]
        acting = match.group().endswith(("s", "ing")) and _POSSESSED.fullmatch(text, match.end(), behind.start())
        if acting or (behind.start() >= match.end() and _ADJECTIVAL.match(text, match.end(), behind.start())):
            return str(behind.lastgroup)
    if index:
        before = parts[index - 1]
        if match.start() - before.end() <= _LONGEST_GAP and not _BREAK.search(text, before.end(), match.start()):
            return str(before.lastgroup)
        if match.start() - before.end() <= 12 and text[before.end() : match.start()].strip() == ":":
            return str(before.lastgroup)
    return None
