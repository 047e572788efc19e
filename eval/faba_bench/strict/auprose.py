"""Prose about action units: lines, headings, items that explain a unit, and plain sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from faba_bench.strict import frames, words
from faba_bench.strict.clauses import sentences
from faba_bench.strict.descriptions import AT_REST, Description, find_descriptions
from faba_bench.strict.elsewhere import elsewhere
from faba_bench.strict.emotionprose import harmless
from faba_bench.strict.explain import explain_sentence
from faba_bench.strict.headings import denies_itself, heading_of, segments
from faba_bench.strict.ledger import Ledger, Unit
from faba_bench.strict.mentions import Mention, find_mentions
from faba_bench.strict.pairs import Pair, before_rest, leads, line_pairs, rest_of
from faba_bench.strict.scope import Said, read_sentence
from faba_bench.strict.tokens import Token, tokenise
from faba_bench.strict.values import decide
from faba_bench.strict.verbs import finite

_COUNTER = re.compile(r"\s*(?:[-*•·#>▪◦‣]+\s+|\(?\d{1,3}[.)](?=\s)\s+)*")
_SIDE = re.compile(r"(?:AU\s*)?(?:(?P<before>[LR])\s?\d|\d{1,2}\s?(?P<behind>[LR])(?![A-Za-z]))")
_SENTENCE = re.compile(r"(?i)\b(?:is|are|was|were|and|if|but|(?:no|not|neither|nor|without)\s+(?=AU|action))\b")
_YES_OR_NO = frozenset(("yes", "no", "y", "n", "yep", "nope"))
_QUESTION_WORDS = words.YES | words.NO


_NUMBERED_HEADING = re.compile(
    r"(?im)^(?P<head>[^\d:\n]{0,60}\b(?:present|active|absent|inactive|visible|detected|observed|missing|activated|found|codes?|coding|coded|excluded|seen|others?|positive|"
    r"negative)\b[^\d:\n]{0,30}[:=-]\s*[\[(]?\s*)(?P<list>\d{1,2}(?:\s*(?:[,;/+&]|and)\s*\d{1,2})*)(?=\s*[\])]?\s*(?:;|$|\.\s*$|\.\s+(?-i:[A-Z][a-z])))"
)


#: "I'd be surprised to see AU6 coded".
_SURPRISED = re.compile(
    r"(?i)\bbe\s+(?:very\s+)?surprised\s+(?:to\s+(?:see|find)|if)\b(?!\s+\w+\s+\w+n't|[^.;,]*\bnot\b)"
)


def _doubted(match: re.Match[str]) -> str:
    return "doubt".ljust(len(match.group()))


def _with_units(match: re.Match[str]) -> str:
    """ "Present: 6, 12" with "AU" before its numbers."""
    return match["head"] + re.sub(r"\d+", lambda number: "AU" + number.group(), match["list"])


def read_prose(text: str, ledger: Ledger) -> None:
    """Read a text without structure into the ledger."""
    from faba_bench.strict.mentions import is_bare_list

    if is_bare_list(text):
        for mention in find_mentions(text):
            ledger.say(Unit(mention.numbers, "named"), 1)
        return
    text = _NUMBERED_HEADING.sub(_with_units, harmless(_SURPRISED.sub(_doubted, text)))
    carried = 1
    previous = 1
    position = 0
    asked: list[Unit] = []
    for line in text.split("\n"):
        position += len(line) + 1
        if not line.strip():
            if carried < 0 and not _list_goes_on(text, position):
                carried = 1
            continue
        carried, previous, asked = _line(line, ledger, carried, previous, asked)
    _settle(ledger)


def _with_side(pair: Pair, line: str) -> Pair:
    """The pair, with "L" or "R" as its source where its label names a side: "L14: B"."""
    side = _SIDE.match(line, pair.start) if not pair.source else None
    return pair._replace(source=(side["before"] or side["behind"]).upper()) if side else pair


def _settle(ledger: Ledger) -> None:
    """Decide the values of all "label: value" pairs together: whether they are probabilities shows only then."""
    coded = {number for pair in ledger.pairs if pair.source == "c" for number in pair.labels}
    pairs = [pair for pair in ledger.pairs if not (pair.source == "r" and any(n in coded for n in pair.labels))]
    plain = [pair for pair in pairs if pair.source not in ("c", "r")]
    states = decide([pair.value for pair in plain])
    said: dict[tuple[int, str], bool] = {}
    decided = {id(pair): state for pair, state in zip(plain, states, strict=True)}
    for pair in pairs:
        state = decided.get(id(pair), pair.value.state)
        if pair.value.unseen:
            continue
        for number in pair.labels:
            side = pair.source  # the two sides of a face may differ
            if state is None or (pair.strong and said.setdefault((number, side), state) != state):
                ledger.unclear[number] = None
            else:
                ledger.say(Unit((number,), "named"), 1 if state else -1)
    ledger.pairs.clear()


def _list_goes_on(text: str, position: int) -> bool:
    rest = text[position : position + 80].lstrip()
    return bool(re.match(r"[-*•·]|\(?\d{1,3}[.)]\s|AU", rest, re.IGNORECASE))


def _line(line: str, ledger: Ledger, carried: int, previous: int, asked: list[Unit]) -> tuple[int, int, list[Unit]]:
    named = find_mentions(line)
    spans = [(item.start, item.end, item.numbers) for item in named]
    pairs = line_pairs(line, spans)
    present = [pair for pair in pairs if pair is not None]
    first = next(iter(pairs), None)
    if present and all(pair is not None for pair in pairs) and not _is_prose(line, present):
        ledger.pairs += [_with_side(pair, line) for pair in present]
        return carried, previous, []
    if first is not None and first.strong and leads(line, spans):
        own = before_rest(line, spans, pairs)
        ledger.pairs += [_with_side(pair, line) for pair in own]
        rest = rest_of(line, own[-1])
        if not rest.strip():
            return carried, previous, []
        line = rest
        named = find_mentions(line)
    begin = _COUNTER.match(line)
    start = begin.end() if begin else 0
    marks = _marks(line, named)
    tokens = tokenise(line, [mark for mark in marks if mark[0] >= start], start)
    return _read_tokens(tokens, line, ledger, carried, previous, asked)


def _is_prose(line: str, pairs: Sequence[Pair]) -> bool:
    """Whether what looks like values is a sentence: "AU4 absent and AU12, which ..."."""
    return any(not pair.strong and pair.value.number is None for pair in pairs) and bool(_SENTENCE.search(line))


def _marks(line: str, named: Sequence[Mention]) -> list[tuple[int, int, Any]]:
    found: list[tuple[int, int, Any]] = [(item.start, item.end, Unit(item.numbers, "named")) for item in named]
    described: list[Description] = find_descriptions(line)
    if described:
        taken = [(item.start, item.end) for item in named]
        for item in described:
            if not any(start < item.end and item.start < end for start, end in taken):
                found.append((item.start, item.end, Unit(item.units, "facs" if item.facs else "plain")))
    found.sort(key=lambda mark: mark[0])
    return found


def _read_tokens(
    tokens: Sequence[Token], line: str, ledger: Ledger, carried: int, previous: int, asked: list[Unit]
) -> tuple[int, int, list[Unit]]:
    item: tuple[int, ...] = ()  # the unit that the current item explains
    heading = carried
    settled = True
    for sentence, ended in sentences(tokens, line):
        if asked and _answers(sentence, asked, ledger):
            asked = []
            if len(sentence) == 1 or len([t for t in sentence if t.kind != "p"]) == 1:
                continue
        elif ended == "?" and any(token.kind == "m" for token in sentence):
            asked = [token.payload for token in sentence if token.kind == "m" and token.payload.how == "named"]
            continue
        for segment in segments(sentence):
            if _postposed(segment, ledger):
                continue
            head, body, kind, sign = heading_of(segment, line)
            if kind == "item":
                if item and not settled:
                    _affirm_item(item, heading, ledger)
                item, settled = tuple(n for token in head for n in token.payload.units), False
                if body:
                    verdict = explain_sentence(body, line, item)
                    _settle_item(item, verdict, heading, ledger)
                    settled = True
                    _denied_inside(body, line, ledger, item)
                continue
            if kind == "list":
                heading = 1 if denies_itself(body) else sign
                item = ()
                if body:
                    previous = _sentence(body, line, ledger, heading, previous, ())
                elif sign < 0 and any(token.kind == "g" for token in segment):
                    ledger.silent = True  # "No AUs detected."
                continue
            if item and not settled:
                _settle_item(item, explain_sentence(segment, line, item), heading, ledger)
                settled = True
                _denied_inside(segment, line, ledger, item)
                continue
            previous = _sentence(segment, line, ledger, heading, previous, item)
            if heading != carried and any(finite(segment, index) for index in range(len(segment))):
                heading = 1
    if item and not settled:
        _affirm_item(item, heading, ledger)
    ends_open = (bool(tokens) and tokens[-1].text == ":") or (
        heading != 1 and not any(token.kind == "m" for token in tokens) and len(tokens) <= 8
    )
    goes_on = carried if not ends_open and carried < 0 and _is_item(tokens, line) else 1
    return (heading if ends_open else goes_on), previous, asked


def _postposed(segment: Sequence[Token], ledger: Ledger) -> bool:
    """Enter "AU1 yes, AU2 yes, AU4 no", alone or behind a heading's colon; False for anything else."""
    if segment[-1].text not in _YES_OR_NO:
        return False
    colon = next((index for index, token in enumerate(segment) if token.text == ":"), -1)
    if any(token.kind == "m" for token in segment[: max(colon, 0)]):
        return False
    rest = [token for token in segment[colon + 1 :] if token.text not in (",", ";", "and", "but")]
    if len(rest) < 4 or len(rest) % 2:
        return False
    pairs = list(zip(rest[::2], rest[1::2], strict=True))
    if not all(unit.kind == "m" and word.text in _YES_OR_NO for unit, word in pairs):
        return False
    for unit, word in pairs:
        ledger.say(unit.payload, -1 if word.text in words.NO else 1)
    return True


def _is_item(tokens: Sequence[Token], line: str) -> bool:
    """Whether a line goes on with the list above it: a bullet, or nothing but mentions."""
    bulleted = bool(re.match(r"\s*(?:[-*•·▪◦‣]|\(?\d{1,3}[.)])\s", line))
    return bulleted or not any(finite(tokens, index) for index in range(len(tokens)))


def _affirm_item(item: tuple[int, ...], heading: int, ledger: Ledger) -> None:
    ledger.say(Unit(item, "named"), heading)


def _settle_item(item: tuple[int, ...], verdict: int, heading: int, ledger: Ledger) -> None:
    ledger.say(Unit(item, "named"), -1 if verdict < 0 or heading < 0 else 1)


def _denied_inside(tokens: Sequence[Token], line: str, ledger: Ledger, item: tuple[int, ...]) -> None:
    """Named units inside an explanation count as in any other sentence; descriptions there belong to the item."""
    if any(token.kind == "m" and token.payload.how == "named" for token in tokens):
        _sentence(tokens, line, ledger, 1, 1, item or (0,))


def _answers(sentence: Sequence[Token], asked: Sequence[Unit], ledger: Ledger) -> bool:
    first = sentence[0]
    if first.text not in _QUESTION_WORDS and first.text not in ("not", "it", "they", "this"):
        return False
    negative = (
        first.text in words.NO or first.text == "not" or any(token.kind in ("not", "absent") for token in sentence[:5])
    )
    if first.text in words.YES:
        negative = False
    for unit in asked:
        ledger.say(unit, -1 if negative else 1)
    return True


#: Kinds and words without one of which a sentence cannot speak of units.
_TELLING = frozenset(
    (
        "m",
        "g",
        "deny",
        "not",
        "dverb",
        "absent",
        "present",
        "rest",
        "except",
        "number",
        "expressionless",
        "former",
        "latter",
        "first",
        "second",
        "out",
    )
)


def _sentence(
    tokens: Sequence[Token], line: str, ledger: Ledger, carried: int, previous: int, item: tuple[int, ...]
) -> int:
    if not any(token.kind in _TELLING or token.text in _TELLING for token in tokens):
        return previous  # it says nothing of units, and takes nothing back
    before = [said.sign for said in ledger.recent]
    outcome = read_sentence(tokens, line, carried, previous, ledger.recent)
    for said, sign in zip(ledger.recent, before, strict=True):
        if said.sign > 0 and not sign:
            ledger.say(said.token.payload, 1)  # "Only the second one is present"
        elif said.sign < 0 and said.token.payload.units:
            ledger.take_back(said.token.payload)
    if -1 in outcome.generic:
        ledger.silent = True
    if not outcome.said:
        if not ledger.silent and any(token.kind == "rest" or token.text in ("expressionless",) for token in tokens):
            ledger.silent = ledger.silent or bool(re.search(r"(?i)\bface\b|\bmuscles?\b|\bexpression", line))
        if item and outcome.claims and outcome.claims[0] < 0 and _existential(tokens):
            for number in item:
                ledger.affirmed.pop(number, None)
                ledger.denied[number] = None
    away = elsewhere(outcome.clauses, line) if outcome.said else frozenset()
    holds = any(token.text in ("both", "all", "exception") for token in tokens)  # "... usually ..., and both are here"
    for said in outcome.said:
        if said.sign > 0 and said.token.payload.how == "named" and _rests(said, outcome.clauses[said.clause].tokens):
            said.sign = -1
        if said.clause in away or (frames.is_habitual(outcome.clauses[said.clause]) and not holds):
            continue
        _enter(said, ledger, item)
    if outcome.said:
        ledger.recent = [said for said in outcome.said if said.token.payload.how == "named"]
    return outcome.last_sign


def _rests(said: Said, tokens: Sequence[Token]) -> bool:
    """ "The lips (AU25) are closed": a state of rest that denies the unit."""
    behind = False
    copula = False
    for token in tokens:
        if token is said.token:
            behind = True
        elif behind and token.kind == "copula":
            copula = True
        elif behind and token.kind in ("not", "deny"):
            return False
        elif copula and set(AT_REST.get(token.text, ())) & set(said.token.payload.units):
            return True
    return False


def _existential(tokens: Sequence[Token]) -> bool:
    subject = [token.text for token in tokens[:3]]
    return (
        bool(subject)
        and subject[0] in ("it", "this", "absent", "not", "so", "therefore", "they")
        and any(token.kind in ("present", "absent") for token in tokens)
        and not any(token.text in ("may", "might", "could") for token in tokens)
    )


def _enter(said: Said, ledger: Ledger, item: tuple[int, ...]) -> None:
    unit: Unit = said.token.payload
    if unit.how != "named" and item:
        return  # it explains the item's unit
    if said.sign == 0 and unit.how == "named":
        for number in unit.units:
            ledger.mentioned[number] = None
        return
    ledger.say(unit, said.sign, said.hedged)
