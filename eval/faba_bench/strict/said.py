"""What is said of mentions, and what one clause leaves to the next."""

# ruff: noqa: SIM905  (word lists read better as text)

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from faba_bench.strict import frames, words
from faba_bench.strict.clauses import Clause
from faba_bench.strict.tokens import Token


@dataclass
class Said:
    """One mention and what is said of it: `sign` 1 claimed, -1 denied, 0 neither; `clause` counts clauses."""

    token: Token
    sign: int
    clause: int
    hedged: bool = False


@dataclass
class Outcome:
    """What a sentence says: of its mentions, and of "action units" at large (`generic`: signs in order)."""

    said: list[Said]
    generic: list[int]
    clauses: list[Clause]
    last_sign: int = 1
    claims: list[int] | None = None


class State:
    """What one clause leaves to the next."""

    def __init__(self) -> None:
        self.pending: list[Said] = []  # subjects that wait for their verb
        self.subject: list[Said] = []  # subjects of the last verb
        self.recent: list[Said] = []  # the mentions named last
        self.before: Sequence[Said] = ()  # those of the sentence before
        self.predicate = 1  # the sign of the last state, for "AU4 is not"
        self.running = 1  # the sign at the end of the last clause
        self.main = 1  # the sign of the last object before a "because"
        self.forced = False  # a clause before says "if I had to choose"
        self.supposed = False  # the clause before says "if"
        self.topic: list[Said] = []  # what "as for ..." names
        self.exceptions: list[tuple[Said, str]] = []


def the_latter(tokens: Sequence[Token], sign: int, recent: Sequence[Said], preferred: bool = False) -> None:
    """ "Of AU6 and AU12, only the latter is active"."""
    if len(recent) < 2:
        return
    spoken = {token.text for token in tokens}
    chosen = -1 if spoken & {"latter", "second"} else 0 if spoken & {"former", "first"} else None
    if chosen is None or (spoken & {"first", "second"} and not _ordinal(tokens)):
        return
    if preferred or spoken & {"only", "first", "second", "better", "best", "more", "rather", "likelier"}:
        for said in recent:
            said.sign = -sign
    if chosen == -1 and "second" in spoken:
        chosen = 1
    recent[chosen].sign = sign


def _ordinal(tokens: Sequence[Token]) -> bool:
    """Whether "the first" stands alone, as in "it is the second that counts"."""
    return any(
        token.text in ("first", "second")
        and index
        and tokens[index - 1].text in ("the", "only")
        and (
            index + 1 == len(tokens)
            or tokens[index + 1].text in ("that", "one", "which")
            or tokens[index + 1].kind in ("copula", "p")
        )
        for index, token in enumerate(tokens)
    )


_COUNTED = {"two": 2, "three": 3, "four": 4, "five": 5}
_PLACES = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4}
_BEHIND_PLACE = frozenset(("one", "ones", "unit", "units", "au", "aus", "action unit", "action units", "of"))


def in_order(tokens: Sequence[Token], sign: int, recent: Sequence[Said]) -> bool:
    """Enter "the first two are present", "the last one is not": places in the list before; False for anything else.

    `tokens` are those before the verb.
    """
    if len(recent) < 3:
        return False
    place = next((i for i, t in enumerate(tokens) if t.text in _PLACES or t.text == "last"), -1)
    if place < 1 or tokens[place - 1].text not in ("the", "only"):
        return False
    behind = tokens[place + 1 :]
    size = _COUNTED.get(behind[0].text, 1) if behind else 1
    behind = behind[1:] if size > 1 else behind
    if behind and behind[0].text not in _BEHIND_PLACE:
        return False
    word = tokens[place].text
    chosen = recent[-size:] if word == "last" else recent[_PLACES[word] : _PLACES[word] + size]
    if tokens[place - 1].text == "only" or any(token.text == "only" for token in tokens[:place]):
        for said in recent:
            said.sign = -sign
    for said in chosen:
        said.sign = sign
    return bool(chosen)


def only_one(tokens: Sequence[Token], sign: int, own: Sequence[Said], recent: Sequence[Said]) -> None:
    """Enter "AU6 and AU12 are typical of happiness, but only AU12 is here": one of a list named before, alone."""
    if len(own) != 1 or len(recent) < 2 or not any(said.token.payload == own[0].token.payload for said in recent):
        return
    place = next((i for i, token in enumerate(tokens) if token is own[0].token), 0)
    if not place or tokens[place - 1].text != "only" or any(token.text in words.DEGREE for token in tokens[place:]):
        return
    for said in recent:
        if said.token.payload != own[0].token.payload:
            said.sign = -sign


_EACH = frozenset(("all", "both", "each", "every"))
_OF_THEM = frozenset("of these those them two three four five are is do".split())


def all_of_them(tokens: Sequence[Token], recent: Sequence[Said], exceptions: Sequence[tuple[Said, str]]) -> None:
    """Claim a list that was only named so far: "For sadness I would expect AU1 and AU4. Both are there"."""
    if not recent or any(said.sign for said in recent):
        return
    left_out = [said.token.payload for said, _ in exceptions]
    for token, behind in itertools.pairwise(tokens):
        if token.text in _EACH and (behind.text in _OF_THEM or behind.kind == "present"):
            for said in recent:
                said.sign = 0 if said.token.payload in left_out else 1


def adjacent(tokens: Sequence[Token], said: list[Said]) -> list[Said]:
    """The last list of mentions: those with nothing but commas and "and" between them."""
    if len(said) < 2:
        return said
    places = {id(token): index for index, token in enumerate(tokens)}
    kept = [said[-1]]
    for item in reversed(said[:-1]):
        if not frames.glued(tokens, places[id(item.token)], places[id(kept[-1].token)]):
            break
        kept.append(item)
    return kept[::-1]
