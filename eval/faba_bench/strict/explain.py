"""What an explanation says of the label that it stands behind: "AU4: The brows are not drawn together"."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from faba_bench.strict import words
from faba_bench.strict.clauses import sentences
from faba_bench.strict.descriptions import AT_REST, find_descriptions
from faba_bench.strict.scope import Outcome, read_sentence
from faba_bench.strict.tokens import Token, tokenise


def explained(text: str, units: Collection[int] = ()) -> int:
    """1 when an explanation affirms its label, -1 when it denies it, 0 when it says nothing."""
    marks = [(item.start, item.end, item) for item in find_descriptions(text)]
    tokens = tokenise(text, marks)
    for sentence, _ in sentences(tokens, text):
        return explain_sentence(sentence, text, units)
    return 0


def explain_sentence(tokens: Sequence[Token], text: str, units: Collection[int] = ()) -> int:
    """As `explained`, for the tokens of the first sentence."""
    first = next((token for token in tokens if token.kind != "p"), None)
    if first is None:
        return 0
    if first.text in words.NO and (len(tokens) == 1 or tokens[1].kind == "p"):
        return -1
    outcome = read_sentence(tokens, text)
    own = [
        said.sign for said in outcome.said if said.sign and set(getattr(said.token.payload, "units", ())) & set(units)
    ]
    if own:
        return 1 if any(sign > 0 for sign in own) else -1
    return _first_claim(tokens, outcome, units)


def _first_claim(tokens: Sequence[Token], outcome: Outcome, units: Collection[int]) -> int:
    if not outcome.claims or not outcome.clauses:
        return 0
    clause = outcome.clauses[0]
    sign = outcome.claims[0]
    if sign == 0:
        return 0
    foreign = [said for said in outcome.said if said.clause == 0 and getattr(said.token.payload, "units", None)]
    if sign < 0 and foreign and units and all(said.sign < 0 for said in foreign):
        return 0  # it denies another unit
    resting = any(token.kind == "rest" for token in clause.tokens)
    resting = resting or any(set(AT_REST.get(token.text, ())) & set(units) for token in clause.tokens)
    if resting and len(outcome.said) == len([said for said in outcome.said if said.sign <= 0 or said.clause]):
        sign = -sign
    return sign
