"""Emotion recognition, read carefully: whole words, negation scoped to its clause, and no guessing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from faba_bench.parsing import EmotionParse
from faba_bench.strict import lexicon
from faba_bench.strict.negation import NEGATOR, clauses, plain, scope_end

_WORD = re.compile(r"[^\W_]+")
# A statement of the answer's verdict, as against a remark on the way to it.
_VERDICT = re.compile(
    r"\b(?:overall|in\s+conclusion|to\s+conclude|therefore|thus|hence|predominantly|primarily|mainly|"
    r"(?:primary|dominant|main|predominant|overall|prevailing)\s+(?:emotion|expression|feeling)|"
    r"emotions?\s+(?:\w+\s+){0,6}?(?:is|are|appears?|seems?)|"
    r"expression\s+(?:is|of|appears|seems|conveys|suggests|indicates|shows))\b",
    re.IGNORECASE,
)
# A remark that grants something to another class: "although ...", "a hint of ...", "could be mistaken for".
_ASIDE = re.compile(
    r"\b(?:although|though|while|whereas|despite|(?:hint|touch|trace|bit|tinge)s?\s+of|mixed\s+with|tinged\s+with|"
    r"mistaken\s+for|misread\s+as|confused\s+with|might\s+also|may\s+also|could\s+also|possibly)\b",
    re.IGNORECASE,
)
_CONCESSION = re.compile(r"\s*(?:although|though|while|whereas|despite)\b", re.IGNORECASE)
_DENIED_BEHIND = re.compile(
    r"(?:\s+\w+){0,1}?\s+(?:(?:is|are|was|were|does|do|can)(?:\s*n't|\s+not|\s+never)|isnt|cannot|can't)\b|"
    r"\s+(?:is|are|was|were|seems?|appears?)\s+(?:\w+ly\s+)?(?:absent|lacking|missing|ruled\s+out|unlikely)\b",
    re.IGNORECASE,
)
_MEANS = {3: "the verdict", 2: "a statement", 1: "an aside"}


class _Word(NamedTuple):
    word: str
    name: str
    weight: int


@lru_cache(maxsize=16)
def _vocabulary(classes: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str], frozenset[str]]:
    return lexicon.names(classes), lexicon.cues(classes), lexicon.nouns(classes)


def read_emotion(text: str, classes: Sequence[str]) -> EmotionParse:
    """The class that a text names, or None when it names none: nothing is guessed.

    Words are whole words; those that their clause denies do not count.  Class names (nouns and adjectives)
    decide: those in a verdict ("the emotion is ...", "overall ...") before those in other statements before
    those in asides ("although ...", "a hint of ..."); among equals the most frequent class, then the one
    named first.  A text without a name is decided by its cue words in the same way.  A text that is nothing
    but a class index is that class.
    """
    bare = text.strip().rstrip(".")
    if len(bare) <= 2 and bare.isascii() and bare.isdigit() and int(bare) < len(classes):
        return EmotionParse(classes[int(bare)], f"class index {bare}")
    names, cues, nouns = _vocabulary(tuple(classes))
    text = plain(text)
    named: list[_Word] = []
    hinted: list[_Word] = []
    denied: dict[str, None] = {}
    for start, end, weight in _weighted_clauses(text):
        negator = NEGATOR.search(text, start, end)
        deny_from = negator.start() if negator else end
        deny_until = scope_end(text, negator, end) if negator else end
        for match in _WORD.finditer(text, start, end):
            word = match.group().lower()
            name = names.get(word) or cues.get(word)
            if name is None:
                continue
            behind = word in nouns and _DENIED_BEHIND.match(text, match.end(), end) is not None
            if deny_from < match.start() < deny_until or behind:
                denied[word] = None
            else:
                (named if word in names else hinted).append(_Word(word, name, weight))
    found = named or hinted
    if not found:
        return EmotionParse(None, f"denies {', '.join(list(denied)[:5])}" if denied else "names no emotion")
    return _decide(found, "name" if named else "cue")


def _weighted_clauses(text: str) -> list[tuple[int, int, int]]:
    """Clauses with 3 for a verdict, 1 for an aside, 2 otherwise."""
    found = []
    previous = 0
    for start, end in clauses(text):
        # The conjunction that opened the clause was cut off with the boundary: look back at it.
        opening = _CONCESSION.match(text, previous, end) or _CONCESSION.match(text, start, end)
        previous = end
        aside = opening is not None or _ASIDE.search(text, start, end) is not None
        verdict = _VERDICT.search(text, start, end) is not None
        found.append((start, end, 1 if aside else 3 if verdict else 2))
    return found


def _decide(found: Sequence[_Word], kind: str) -> EmotionParse:
    best = max(word.weight for word in found)
    voices = [word for word in found if word.weight == best]
    votes: dict[str, int] = {}
    for word in voices:
        votes[word.name] = votes.get(word.name, 0) + 1
    winner = max(votes, key=lambda name: votes[name])  # the first named wins a tie: dicts keep their order
    first = next(word.word for word in voices if word.name == winner)
    return EmotionParse(winner, f"{kind} {first!r} in {_MEANS[best]}, {votes[winner]} of {len(voices)} votes")
