"""Clauses that speak of another time, another picture or another person, or of what the writer took back."""

# ruff: noqa: E501, SIM905  (patterns and word lists read better on one line)
from __future__ import annotations

import re
from collections.abc import Sequence

from faba_bench.strict import frames
from faba_bench.strict.clauses import Clause
from faba_bench.strict.folded import folded

_PICTURE = r"(?:frame|picture|image|photo|clip|shot|still|video|sequence)"
PAST = re.compile(
    rf"\b(?:previous(?:ly)?|earlier|formerly|in\s+the\s+(?:last|first|preceding|other|previous)\s+{_PICTURE}|{_PICTURE}\s+before|used\s+to|"
    r"(?:a\s+)?(?:moment|second|minute|while|frames?)\s+(?:ago|earlier|before)|before|yesterday|so\s+far)\b"
)
OTHER = re.compile(
    r"\b(?:background|(?:next\s+to|beside|behind)\s+(?:him|her|them|(?:the|his|a|this|our)\s+(?:subject|man|woman|girl|boy|person|child|other|main|one|face))|(?:man|woman|person|people|face|child|girl|boy|guy)s?\s+(?:next\s+to|beside|behind)|(?:the\s+)?other\s+(?:person|man|woman|face|people|child|one|girl|boy|individual|subject)|(?:his|her|their)\s+"
    r"(?:friend|neighbou?r|companion|partner|mother|father|wife|husband|son|daughter|brother|sister|colleague)s?|people\s+around|bystanders?|viewers?|observers?|someone\s+else|(?<!no\s)(?<!the\s)(?<!all\s)others|"
    r"(?:another|second|neighbou?ring)\s+(?:person|man|woman|face|child|girl|boy|individual|subject))\b"
)
#: What was thought first and given up.
TAKEN_BACK = re.compile(
    r"\b(?:(?:first|initially|originally|at\s+first)\s+(?:\w+\s+){0,2}?(?:wrote|thought|coded|scored|took|marked|listed|guessed|read|considered|suspected|said|believed|assumed|had|labell?ed|assigned|noted|leaned|went|inclined|tempted)|"
    r"(?:my|our|the)\s+(?:very\s+)?(?:first|initial|original)\s+(?:guess|impression|thought|reading|idea|reaction|instinct|label|code|coding|hunch)|tempted\s+to\s+\w+|(?:wrote|thought|said|coded|had)\s+(?:\w+\s+){0,3}?(?:at\s+first|initially|first))\b"
)


#: None of the patterns matches without one of these words.
_HINTS = frozenset(
    "previous previously earlier formerly last first preceding other before used ago yesterday far background next beside behind initially "
    "originally initial original tempted another second neighbouring neighboring friend friends neighbour neighbours neighbor neighbors companion "
    "companions partner partners mother mothers father fathers wife wifes husband husbands son sons daughter daughters brother brothers sister "
    "sisters colleague colleagues people bystander bystanders viewer viewers observer observers someone others".split()
)


def may_be_elsewhere(clause: Clause) -> bool:
    """Whether a clause has a word of those that `PAST`, `OTHER` and `TAKEN_BACK` need; these read lower case."""
    return any(part in _HINTS for token in clause.tokens for part in token.text.split(" "))


def elsewhere(clauses: Sequence[Clause], line: str) -> frozenset[int]:
    """Numbers of the clauses that speak of something else than the face as it is."""
    if not any(map(may_be_elsewhere, clauses)):
        return frozenset()
    line = folded(line)
    first, last = clauses[0].tokens[0].start, max(clause.tokens[-1].end for clause in clauses)
    source = line[first:last]
    if not (PAST.search(source) or OTHER.search(source) or TAKEN_BACK.search(source)):
        return frozenset()
    found: set[int] = set()
    for number, clause in enumerate(clauses):
        own = line[clause.tokens[0].start : clause.tokens[-1].end]
        goes_on = clause.opened == "which" or (clause.opened in ("and", ",") and frames.main_verb(clause.tokens) == 0)
        if PAST.search(own) or OTHER.search(own) or TAKEN_BACK.search(own) or (goes_on and number - 1 in found):
            found.add(number)
    return frozenset(found)
