"""Negation by whole words, scoped to its clause.

Shared by the readers of action units and of emotions: cutting a text into clauses, and knowing which words
negate.  A comma ends a clause only where a new statement follows, so that "no anger, fear, or disgust"
denies three emotions and "not angry, he looks sad" only one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_VERB = (
    r"(?:is|are|was|were|isn't|aren't|has|have|had|does|do|did|appears?|looks?|seems?|shows?|conveys?|expresses?|"
    r"suggests?|indicates?|displays?|feels?|exhibits?|reflects?|reveals?|remains?|can|could|may|might)"
)
_FRESH = rf"(?:he|she|it|they|there|this|that|these|those|the|just|only|simply|merely|rather|instead|{_VERB})\b"
_HARD = re.compile(
    r"[.!?;\n()\[\]—–]+(?:\s|(?<=[\n()\[\]—–;])|$)|:(?!\S)|\s-\s|"
    r",?\s*\b(?:but|however|although|though|whereas|while|yet|because|since|so that|which|who)\b",
    re.IGNORECASE,
)
_SOFT = re.compile(r",|\band\b", re.IGNORECASE)

#: Words that look like a negation and are none.
_NO_NEGATION = re.compile(
    r"\b(?:not\s+(?:only|just|merely|solely|simply)|no\s+doubt|without\s+(?:a\s+|any\s+)?doubt|no\s+less|"
    r"nothing\s+(?:but|other\s+than)|can(?:not|'t)\s+(?:help\s+)?but|no\s+longer\s+than)\b",
    re.IGNORECASE,
)
NEGATOR = re.compile(
    r"\b(?:no|not|none|never|neither|nor|without|cannot|cant|dont|doesnt|didnt|isnt|arent|wasnt|wont|"
    r"hardly|lacks?|lacking|absent|unlike)\b|n't\b|"
    r"\b(?:rather\s+than|instead\s+of|as\s+opposed\s+to|far\s+from|free\s+(?:of|from)|devoid\s+of|"
    r"(?:lack|absence)\s+of|rules?\s+out|ruling\s+out)\b",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """The text with straight apostrophes and with harmless "not only" and the like blanked out.

    Keeps the length, so that positions stay valid.
    """
    straight = text.replace("\u2019", "'").replace("\u02bc", "'")
    return _NO_NEGATION.sub(lambda match: " " * len(match.group()), straight)


def clauses(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each clause of a text that `plain` has gone over."""
    for start, end in _cut(text, 0, len(text), _HARD):
        begin = start
        for comma in _SOFT.finditer(text, start, end):
            if _is_statement(text, comma.end(), end):
                if comma.start() > begin:
                    yield begin, comma.start()
                begin = comma.end()
        if begin < end:
            yield begin, end


def _cut(text: str, start: int, end: int, boundary: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    for match in boundary.finditer(text, start, end):
        if match.start() > start:
            yield start, match.start()
        start = match.end()
    if start < end:
        yield start, end


_STATEMENT = re.compile(
    rf"\s*(?:and\s+)?(?:{_FRESH}|(?:[\w'\x01-]+\s+){{1,3}}{_VERB}\b)", re.IGNORECASE
)


def _is_statement(text: str, start: int, end: int) -> bool:
    return _STATEMENT.match(text, start, end) is not None
