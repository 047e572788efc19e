"""Action units, read carefully: many spellings, FACS names, and negation scoped to its clause."""

from __future__ import annotations

import re
from collections.abc import Collection

from faba_bench.parsing import AUParse
from faba_bench.strict.mentions import find_mentions
from faba_bench.strict.negation import NEGATOR, clauses, plain

# Each mention is replaced by a mark of its own length, so that "AUs 6 and 12" is one thing in its clause.
_MARK = "\x01"
_DENIED_BEHIND = re.compile(
    r"\s*(?:[:=,–—(-]\s*)?(?:\([^)]*\)\s*)?"
    r"(?:(?:is|are|was|were|be|being|appears?|seems?|looks?|remains?|both|all|also|clearly|completely|entirely)\s+)*"
    r"(?:absent|inactive|missing|lacking|none|not\s+(?:present|active|activated|visible|detected|observed|seen|shown|"
    r"evident|apparent|engaged|involved|there|displayed|expressed)|no(?=\s*(?:$|[.,;\n]))|off|false|0(?![.0-9])|"
    r"neutral|ruled\s+out|relaxed|unlikely)\b",
    re.IGNORECASE,
)
_AUXILIARY_NOT = re.compile(
    r"\b(?:is|are|was|were|does|do|did|has|have|can|could|will|would|may|might)(?:\s+\w+ly)?\s+(?:not|never)\b|"
    r"\b\w+n't\b|\bcannot\b|\b(?:isnt|arent|wasnt|doesnt|dont|didnt|cant)\b|\b(?:are|is)\s+neither\b",
    re.IGNORECASE,
)
_DEGREE = re.compile(
    r"\s+(?:be\s+)?(?:very|fully|entirely|completely|strongly|particularly|overly|too|as|so|extremely|highly|"
    r"pronounced|intense|strong|limited|intensely|heavily|exaggerated)\b",
    re.IGNORECASE,
)
_COMPANY = re.compile(
    r"\s+(?:be\s+)?(?:accompanied|combined|paired|coupled|joined|mixed|followed|supported)\b", re.IGNORECASE
)
_NO_UNITS = re.compile(
    r"\b(?:no|not\s+any|n't\s+(?:any\s+)?|none\s+of\s+the|without\s+any|zero)\s*(?:\w+\s+){0,3}?"
    r"(?:AUs?\b|action\s+units?\b)(?!\s*[0-9])",
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
    marked = list(text)
    owner: dict[int, tuple[int, ...]] = {}
    for mention in mentions:
        marked[mention.start : mention.end] = _MARK * (mention.end - mention.start)
        owner[mention.start] = mention.numbers
    ends = {mention.start: mention.end for mention in mentions}
    masked = "".join(marked)
    affirmed: dict[int, None] = {}
    denied: dict[int, None] = {}
    for start, end in clauses(masked):
        places = [place for place in owner if start <= place < end]
        for place in places:
            target = denied if _is_denied(masked, start, end, place, ends, places) else affirmed
            target.update(dict.fromkeys(owner[place]))
    known = set(vocabulary)
    value = tuple(number for number in affirmed if number in known)
    return AUParse(value, True, _evidence(value, affirmed, denied, known))


def _is_denied(
    text: str, start: int, end: int, place: int, ends: dict[int, int], places: list[int]
) -> bool:
    if _DENIED_BEHIND.match(text, ends[place]):
        return True
    for match in NEGATOR.finditer(text, start, place):
        if not _spent(text, start, match, places, ends):
            return True
    return _predicate_denies(text, ends[place], end, places, place)


def _spent(text: str, start: int, negator: re.Match[str], places: list[int], ends: dict[int, int]) -> bool:
    """Whether a negation before the mention belongs to something else.

    "AU4 is not present along with AU7": an auxiliary's "not" behind an earlier mention denies that one,
    except in "AU6 is not accompanied by AU12".
    """
    earlier = [place for place in places if place < negator.start()]
    if _DEGREE.match(text, negator.end()):
        return True
    if negator.group().lower() == "absent":
        return bool(earlier)
    if not earlier:
        return False
    auxiliary = any(
        match.start() <= negator.start() < match.end() for match in _AUXILIARY_NOT.finditer(text, start)
    )
    return auxiliary and not _COMPANY.match(text, negator.end())


def _predicate_denies(text: str, after: int, end: int, places: list[int], place: int) -> bool:
    """ "... is not", "... are not visible" behind a mention, before the clause ends."""
    match = _AUXILIARY_NOT.search(text, after, end)
    if match is None or _DEGREE.match(text, match.end()) or _COMPANY.match(text, match.end()):
        # "absent" may also stand behind several mentions: "AU1 and AU2 are absent".
        return _shared_absence(text, after, end)
    return True


_SHARED = re.compile(
    r"(?:[\s,/&+\x01]|\band\b|\bor\b|\bas well as\b|\bboth\b)*"
    r"(?:is|are|was|were|appears?|seems?|remains?)\s+(?:both\s+|all\s+|also\s+|clearly\s+|completely\s+)?"
    r"(?:absent|inactive|missing|lacking|ruled\s+out)\b",
    re.IGNORECASE,
)


def _shared_absence(text: str, after: int, end: int) -> bool:
    return _SHARED.match(text, after, end) is not None


def _evidence(value: tuple[int, ...], affirmed: dict[int, None], denied: dict[int, None], known: set[int]) -> str:
    parts = [", ".join(f"AU{number}" for number in value) or "none affirmed"]
    gone = [number for number in denied if number not in affirmed]
    if gone:
        parts.append("denied: " + ", ".join(f"AU{number}" for number in gone))
    strange = [number for number in affirmed if number not in known]
    if strange:
        parts.append("not in the vocabulary: " + ", ".join(f"AU{number}" for number in strange[:20]))
    return "; ".join(parts)
