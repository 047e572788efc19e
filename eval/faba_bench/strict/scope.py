"""What a text says of each mention: claimed, denied, or neither.

Goes through the clauses of a sentence from left to right; `predicate` reads one clause.  A heading ("Absent:") opens a
list; "if" and the like claim nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from faba_bench.strict import words
from faba_bench.strict.clauses import clauses
from faba_bench.strict.predicate import ClauseReader
from faba_bench.strict.said import Outcome, Said, State
from faba_bench.strict.tokens import Token

__all__ = ["Outcome", "Said", "read_sentence"]

_AT_LARGE = frozenset(("absent", "rest"))


def read_sentence(
    tokens: Sequence[Token], text: str, carried: int = 1, previous: int = 1, recent: Sequence[Said] = ()
) -> Outcome:
    """What one sentence says.

    `carried` is the sign of a heading that it stands under, `previous` that of the last state before it ("AU4 is not"),
    `recent` the mentions before it that "the former" and "none of these" speak of.
    """
    parts = clauses(tokens, text)
    outcome = Outcome([], [], parts, carried, [])
    state = State()
    state.predicate = previous
    state.running = carried
    state.before = recent
    for number, clause in enumerate(parts):
        ClauseReader(clause, number, carried, state, outcome).read()
    if state.exceptions:
        denied_at_large = -1 in outcome.generic or any(
            token.kind in _AT_LARGE or token.text == "expressionless" for clause in parts for token in clause.tokens
        )
        for said, word in state.exceptions:
            said.sign = 1 if denied_at_large or word in words.ADDING else -1
    outcome.last_sign = state.predicate
    return outcome
