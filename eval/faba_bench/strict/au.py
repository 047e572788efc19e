"""Action units, read carefully: many spellings, FACS names, and negation scoped to its clause."""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence

from faba_bench.parsing import AUParse
from faba_bench.strict.mentions import Mention, find_mentions
from faba_bench.strict.negation import NEGATOR, clauses, plain, scope_end

# Each mention is replaced by marks of its own length, so that "AUs 6 and 12" is one thing in its clause.
_MARK = "\x01"
_STATES = (
    r"absent|inactive|missing|lacking|ruled\s+out|"
    r"not\s+(?:present|active|activated|visible|detected|observed|seen|shown|evident|apparent|engaged|involved|"
    r"there|displayed|expressed)"
)
_ADVERBS = r"(?:both|all|also|clearly|completely|entirely|likely|notably|largely)"
_COPULAS = r"(?:is|are|was|were|appears?|seems?|looks?|remains?|to\s+be)"
# "AU4: absent", "AU4 (absent)", "AU4 = 0", "AU4: No", "AU4 is inactive", "**AU4**: no", '"AU4": false', "| AU4 | 0 |".
_STATE_BEHIND = re.compile(
    rf"[\s*_`\"']*(?:[:=,(|–—-][\s*_`\"']*)?(?:(?:{_COPULAS}|{_ADVERBS})\s+){{0,4}}"
    rf"(?:(?:{_STATES}|none|off|false|unlikely)\b|no\b(?=[\s*_`\"']*(?:$|[.,;)|}}]|\n))|"
    rf"0(?:\.0+)?(?!\.?[0-9A-Za-z]))",
    re.IGNORECASE,
)
# "AU1, AU2 and AU4 are absent": the state is said of all the mentions before it.
_STATE = re.compile(rf"\s*{_COPULAS}\s+(?:{_ADVERBS}\s+){{0,3}}(?:{_STATES})\b", re.IGNORECASE)
_JOINED = re.compile(r"(?:[\s,/&+]|\band\b|\bor\b|\bas\s+well\s+as\b)*", re.IGNORECASE)
_AUXILIARY_NOT = re.compile(
    r"\b(?:is|are|was|were|does|do|did|has|have|can|could|will|would|may|might)(?:\s+\w+ly)?\s+(?:not|never)\b|"
    r"\b\w+\s?n't\b|\b(?:never|cannot|isnt|arent|wasnt|doesnt|dont|didnt|cant)\b",
    re.IGNORECASE,
)
# "not very strong" is present, and "not accompanied by AU12" speaks of what follows.
_DEGREE = re.compile(
    r"\s+(?:be\s+)?(?:very|fully|entirely|completely|strongly|particularly|overly|too|as|so|extremely|highly|"
    r"pronounced|intense|strong|limited|intensely|heavily|exaggerated|the\s+only)\b",
    re.IGNORECASE,
)
_COMPANY = re.compile(
    r"\s+(?:be\s+)?(?:accompanied|combined|paired|coupled|joined|mixed|followed|supported)\b", re.IGNORECASE
)
_NO_UNITS = re.compile(
    r"(?:\b(?:no|not\s+any|none\s+of\s+the|without\s+any|zero)|n't(?:\s+any)?)\s+(?:\w+\s+){0,3}?"
    r"(?:AUs?|action\s+units?)\b",
    re.IGNORECASE,
)


def read_aus(text: str, vocabulary: Collection[int]) -> AUParse:
    """AU numbers that a text says are present.

    Understands "AU 4", "au4", "AU04", "AU1+2", "AU25/26", "AUs 6 and 12", "AU12R", "AU6B", FACS names, and a
    bare list of numbers as the whole answer.  A number outside the vocabulary is left out.  A unit that the
    text denies in every place ("AU4 is not present", "neither AU1 nor AU2") is left out; one that it affirms
    anywhere is in.  `parsed` is False when the text says nothing about action units at all.
    """
    text = plain(text)
    mentions = find_mentions(text)
    if not mentions:
        silent = _NO_UNITS.search(text) is not None
        return AUParse((), silent, "says that there are none" if silent else "names no action unit")
    affirmed: dict[int, None] = {}
    denied: dict[int, None] = {}
    masked = _masked(text, mentions)
    states = [_STATE_BEHIND.match(masked, mention.end) for mention in mentions]
    said = [match.span() for match in states if match]
    for start, end, inside in _by_clause(masked, mentions):
        for mention, is_denied in zip(inside, _denials(masked, start, end, inside, said), strict=True):
            (denied if is_denied else affirmed).update(dict.fromkeys(mention.numbers))
    known = set(vocabulary)
    value = tuple(number for number in affirmed if number in known)
    return AUParse(value, True, _evidence(value, affirmed, denied, known))


def _masked(text: str, mentions: Sequence[Mention]) -> str:
    pieces: list[str] = []
    position = 0
    for mention in mentions:
        pieces += [text[position : mention.start], _MARK * (mention.end - mention.start)]
        position = mention.end
    return "".join([*pieces, text[position:]])


def _by_clause(text: str, mentions: Sequence[Mention]) -> Iterator[tuple[int, int, list[Mention]]]:
    index = 0
    for start, end in clauses(text):
        inside: list[Mention] = []
        while index < len(mentions) and mentions[index].start < end:
            inside.append(mentions[index])
            index += 1
        if inside:
            yield start, end, inside


def _denials(text: str, start: int, end: int, inside: Sequence[Mention], said: Sequence[tuple[int, int]]) -> list[bool]:
    """Whether each mention of one clause is denied; `said` are the places of all states behind a mention."""
    auxiliaries = list(_AUXILIARY_NOT.finditer(text, start, end))
    forward, until = _forward_denial(text, start, end, inside[0].start, auxiliaries, said)
    behind = [
        match.start()
        for match in auxiliaries
        if not _DEGREE.match(text, match.end()) and not _COMPANY.match(text, match.end())
    ]
    last_behind = behind[-1] if behind else -1
    return [
        forward < mention.start < until or mention.end <= last_behind or _covers(said, mention.end) or shared
        for mention, shared in zip(inside, _shared_states(text, end, inside), strict=True)
    ]


def _covers(spans: Sequence[tuple[int, int]], position: int) -> bool:
    """Whether one of the spans, which are in order and apart, holds a position."""
    index = bisect_right(spans, (position, sys.maxsize)) - 1
    return index >= 0 and position < spans[index][1]


def _shared_states(text: str, end: int, inside: Sequence[Mention]) -> list[bool]:
    """Whether "are absent" stands behind each mention or behind the list of mentions that it is in."""
    flags: list[bool] = []
    following: Mention | None = None
    for mention in reversed(inside):
        joined = following is not None and _JOINED.fullmatch(text, mention.end, following.start) is not None
        flags.append((joined and flags[-1]) or _STATE.match(text, mention.end, end) is not None)
        following = mention
    return flags[::-1]


def _forward_denial(
    text: str,
    start: int,
    end: int,
    first_mention: int,
    auxiliaries: Sequence[re.Match[str]],
    said: Sequence[tuple[int, int]],
) -> tuple[int, int]:
    """From where to where the first negation denies that denies what follows it; nothing when there is none.

    An auxiliary's "not" behind a mention denies that one and nothing further ("AU4 is not seen along with
    AU7"), except in "AU6 is not accompanied by AU12".  Neither does a state that is `said` of one mention
    ("AU4 not present, AU6 present").
    """
    backward = {match.end() for match in auxiliaries}
    for match in NEGATOR.finditer(text, start, end):
        if _covers(said, match.start()) or _DEGREE.match(text, match.end()):
            continue
        says_of_subject = match.start() > first_mention and match.end() in backward
        if says_of_subject and not _COMPANY.match(text, match.end()):
            continue
        return match.start(), scope_end(text, match, end)
    return end, end


def _evidence(value: Sequence[int], affirmed: Collection[int], denied: Collection[int], known: Collection[int]) -> str:
    parts = [", ".join(f"AU{number}" for number in value) or "none affirmed"]
    gone = [number for number in denied if number not in affirmed]
    if gone:
        parts.append("denied: " + ", ".join(f"AU{number}" for number in gone[:20]))
    strange = [number for number in affirmed if number not in known]
    if strange:
        parts.append("not in the vocabulary: " + ", ".join(f"AU{number}" for number in strange[:20]))
    return "; ".join(parts)
