"""Negation by whole words, scoped to its clause.

Shared by the readers of action units and of emotions: cutting a text into clauses, and knowing which words
negate.  A comma or an "and" ends a clause only where a new statement follows, so that "no anger, fear, or
disgust" denies three emotions and "not angry, he looks sad" only one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_VERBS = (
    r"is|are|was|were|has|have|had|does|do|did|appears?|looks?|seems?|shows?|conveys?|expresses|express|"
    r"suggests?|indicates?|displays?|feels?|exhibits?|reflects?|reveals?|remains?|can|could|may|might|will|would"
)
_VERB = re.compile(rf"\b(?:{_VERBS}|\w+n't)\b", re.IGNORECASE)
_FRESH = re.compile(
    rf"\s*(?:and\s+)?(?:he|she|it|they|there|just|only|simply|merely|rather(?!\s+than)|instead(?!\s+of)|"
    rf"showing|displaying|exhibiting|conveying|expressing|indicating|suggesting|with|{_VERBS}|\w+n't)\b",
    re.IGNORECASE,
)
_SUBJECT_VERB = re.compile(rf"\s*(?:and\s+)?(?:[\w\x01-]+[\s,/&+]+){{1,4}}?(?:{_VERBS}|\w+n't)\b", re.IGNORECASE)
_HARD = re.compile(
    r"[.!?](?=\s|$)|[;\n()\[\]—–]|:(?=\s|$)|\s-\s|"
    r"\b(?:but|however|although|though|whereas|while|yet|because|since|so that|which|who)\b",
    re.IGNORECASE,
)
_SOFT = re.compile(r",|\band\b", re.IGNORECASE)

#: Words that look like a negation and are none.
_NO_NEGATION = re.compile(
    r"(?:\A|(?<=[.!?\n]\s)|(?<=\n))no(?=,)|"  # "No, the person is happy" answers a question
    r"\b(?:not\s+(?:only|just|merely|solely|simply)|no\s+doubt|without\s+(?:a\s+|any\s+)?doubt|no\s+less|"
    r"nothing\s+(?:but|other\s+than)|can(?:not|'t)\s+(?:help\s+)?but)\b",
    re.IGNORECASE,
)
#: A word that denies what follows it in its clause.
NEGATOR = re.compile(
    r"\b(?:no|not|none|never|neither|nor|without|cannot|cant|dont|doesnt|didnt|isnt|arent|wasnt|wont|"
    r"nothing|hardly|lacks?|lacking|unlike)\b|n't\b|"
    r"\b(?:rather\s+than|instead\s+of|as\s+opposed\s+to|far\s+from|free\s+(?:of|from)|devoid\s+of|"
    r"(?:lack|absence)\s+of|rules?\s+out|ruling\s+out)\b",
    re.IGNORECASE,
)

# "The absence of a smile suggests sadness": what is absent ends at the verb that says what it suggests.
_ABSENCE = re.compile(r"(?:lack|absence)\s+of\b", re.IGNORECASE)
_SUGGESTS = re.compile(
    r"\b(?:suggest|indicate|convey|show|signal|impl(?:y|ie)|mean|reflect|reveal|express|point|hint|give|create|make|lead)e?s?\b",
    re.IGNORECASE,
)


def scope_end(text: str, negator: re.Match[str], end: int) -> int:
    """Where the denial of a negator ends: at the end of its clause, or before "suggests" of an absence."""
    if not _ABSENCE.match(negator.group()):
        return end
    verb = _SUGGESTS.search(text, negator.end(), end)
    return verb.start() if verb else end


def plain(text: str) -> str:
    """The text with straight apostrophes and with harmless "not only" and the like blanked out.

    Keeps the length, so that positions stay valid.
    """
    straight = text.replace("\u2019", "'").replace("\u02bc", "'")
    return _NO_NEGATION.sub(lambda match: " " * len(match.group()), straight)


def clauses(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each clause of a text that `plain` has gone over."""
    start = 0
    for boundary in _HARD.finditer(text):
        yield from _soft_clauses(text, start, boundary.start())
        start = boundary.end()
    yield from _soft_clauses(text, start, len(text))


def _soft_clauses(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    begin = searched = start
    has_verb = False
    for break_ in _SOFT.finditer(text, start, end):
        has_verb = has_verb or _VERB.search(text, searched, break_.start()) is not None
        searched = break_.start()
        # A subject and its verb open a new statement only where the one before has had its verb:
        # in "AU4 and AU7 are not present" the "and" joins two subjects.
        if _FRESH.match(text, break_.end(), end) or (has_verb and _SUBJECT_VERB.match(text, break_.end(), end)):
            if begin < break_.start():
                yield begin, break_.start()
            begin = searched = break_.end()
            has_verb = False
    if begin < end:
        yield begin, end
