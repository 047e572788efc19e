"""Finite verbs, and whether tokens are a whole claim."""

# ruff: noqa: SIM905  (patterns and word lists read better on one line)
from __future__ import annotations

from collections.abc import Sequence

from faba_bench.strict import words
from faba_bench.strict.tokens import Token

STATES = frozenset(("absent", "present", "rest"))
_NEVER_FINITE = frozenset(
    ("m", "g", "p", "deny", "absent", "present", "rest", "number", "pronoun", "contrast", "relative")
)
FINITE = frozenset(("copula", "modal", "verb"))
_NEVER_NOUNS = frozenset("convey suggest indicate express reveal exhibit imply demonstrate depict portray".split())
_FUSED = frozenset(
    "cannot cant dont doesnt didnt isnt arent wasnt werent wont wouldnt couldnt hasnt havent aint".split()
)
_BEFORE_NOUNS = frozenset("to the a an of her his no any every each this right best correct only proper final".split())
_DETERMINERS = frozenset("a an the his her their its no any this that".split())
_ADVERBS = frozenset(
    "often usually always never also clearly only just even still really merely sometimes typically".split()
)
_SINGULAR = frozenset("he she it one who else nothing nobody everything something".split())


def is_complete(tokens: Sequence[Token]) -> bool:
    """Whether the tokens hold a finite verb, or a mention with a state behind it."""
    marked = False
    for index, token in enumerate(tokens):
        if finite(tokens, index):
            return True
        if token.kind in ("m", "g"):
            marked = True
        elif marked and token.kind in STATES:
            return True
    return False


def finite(tokens: Sequence[Token], index: int) -> bool:
    """Whether the token at `index` is a finite verb, as far as its neighbours tell."""
    token = tokens[index]
    if token.kind == "word":
        return token.text.endswith("s") and _third_person(tokens, index)
    if token.kind in _NEVER_FINITE:
        return False
    if token.kind == "not" and token.text in _FUSED:
        return True
    if token.kind == "dverb":
        word = token.text.split(" ")[0]
        if word.endswith("s") or word.endswith("ed"):
            return not (index and tokens[index - 1].kind == "copula")
        before = tokens[index - 1] if index else token
        if not index:
            return word in ("fail", "refuse")  # "... but fail to detect AU1"
        return (
            index > 0
            and not word.endswith("ing")
            and (
                before.kind in ("m", "g", "pronoun")
                or before.text.endswith("s")
                or before.text in ("all", "both", "each")
            )
        )
    if token.kind in FINITE:
        if token.text == "been" or token.text == "being" or token.text == "be":
            return False
        return not (token.kind == "verb" and index and tokens[index - 1].text in _BEFORE_NOUNS)
    if token.kind == "reset":
        return token.text in ("remains", "leaves") and index > 0 and tokens[index - 1].kind == "m"
    if token.kind != "base" or not index:
        return False
    if token.text in _NEVER_NOUNS and tokens[index - 1].text != "to":
        return True
    before = tokens[index - 1]
    if before.text in _ADVERBS and index > 1:
        before = tokens[index - 2]
    if before.text in ("its", "his", "theirs"):
        return False
    if before.kind in ("m", "g", "pronoun") and before.text not in ("that", "this", "there", "no"):
        return index + 1 < len(tokens)
    return before.kind == "word" and before.text.endswith("s") and not before.text.endswith("ss") and index > 0


def _third_person(tokens: Sequence[Token], index: int) -> bool:
    """ "One often finds ...", "he shrugs": a word in -s behind a pronoun that can be its subject."""
    word = tokens[index].text
    if not index or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return False
    if index > 1 and index + 1 < len(tokens) and tokens[index + 1].text in _DETERMINERS:
        noun = tokens[index - 1]
        if noun.text in words.PEOPLE or (noun.kind == "word" and tokens[index - 2].text in _DETERMINERS):
            return True  # "the individual maintains a neutral expression"
    before = index - 1
    while before and tokens[before].text in _ADVERBS:
        before -= 1
    return tokens[before].text in _SINGULAR or tokens[before].kind == "relative"
