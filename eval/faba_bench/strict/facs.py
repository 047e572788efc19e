"""Names of action units in the Facial Action Coding System, as models write them."""

from __future__ import annotations

import re
from functools import lru_cache

#: AU number -> its name in FACS and close spellings, as regular expressions over lower-case text; a space is white
#: space or hyphens.
NAMES: dict[int, tuple[str, ...]] = {
    1: (r"inner (?:eye)?brows? rais(?:er|ers|ing|e)", r"inner (?:eye)?brows? lift"),
    2: (r"outer (?:eye)?brows? rais(?:er|ers|ing|e)", r"outer (?:eye)?brows? lift"),
    4: (r"(?:eye)?brows? lower(?:er|ers|ing)", r"(?:eye)?brows? furrow(?:er|ing)?"),
    5: (r"upper (?:eye)?lids? rais(?:er|ers|ing|e)",),
    6: (r"cheeks? rais(?:er|ers|ing|e)",),
    7: (r"(?:eye)?lids? tighten(?:er|ers|ing)",),
    9: (r"nose wrinkl(?:er|ers|ing|e)",),
    10: (r"upper lips? rais(?:er|ers|ing|e)",),
    11: (r"nasolabial (?:furrow )?deepener",),
    12: (r"lip corners? pull(?:er|ers|ing)(?! (?:down(?:wards?)?|apart|sideways|laterally|in(?:wards?)?)\b)",),
    13: (r"(?:cheek|sharp lip) puffer",),
    14: (r"dimplers?", r"(?<!chin\s)dimpling"),
    15: (r"lip corners? depress(?:or|ors|ing|ion)", r"lip corners? puller? down(?:wards?)?"),
    16: (r"lower lips? depress(?:or|ors|ing)",),
    17: (r"chin rais(?:er|ers|ing|e)",),
    18: (r"lips? pucker(?:er|ers|ing)?",),
    19: (r"tongue show",),
    20: (r"lips? stretch(?:er|ers|ing)",),
    22: (r"lips? funnel(?:er|ers|ing)",),
    23: (r"lips? tighten(?:er|ers|ing)",),
    24: (r"lips? press(?:or|ors|er|ing)",),
    25: (r"lips? part(?:s|ing)?(?! of\b)",),
    26: (r"jaw drop(?:s|ping|per)?",),
    27: (r"mouth stretch(?:es|er|ing)?",),
    28: (r"lips? suck",),
    43: (r"eyes? clos(?:ure|ing|er)",),
    45: (r"blink",),
    46: (r"wink",),
}


_PATTERNS = {
    number: re.compile("|".join(spelling.replace(" ", r"[\s-]+") for spelling in spellings))
    for number, spellings in NAMES.items()
}
#: Finds a name in lower-case text; `number_of` tells which.
NAME = re.compile(rf"\b(?:{'|'.join(pattern.pattern for pattern in _PATTERNS.values())})\b")
_HINT = re.compile(r"brow|lid|cheek|nose|nasolab|lip|dimpl|chin|tongue|jaw|mouth|eye|blink|wink|puffer")


def find_names(text: str) -> list[tuple[int, int, int]]:
    """(start, end, AU number) of all names in a lower-case text."""
    if not _HINT.search(text):
        return []
    return [(match.start(), match.end(), number_of(match)) for match in NAME.finditer(text)]


def number_of(match: re.Match[str]) -> int:
    """The AU number of a match of `NAME`."""
    return _number(match.group())


@lru_cache(maxsize=1024)
def _number(name: str) -> int:
    return next(number for number, pattern in _PATTERNS.items() if pattern.fullmatch(name))
