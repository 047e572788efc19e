"""What the words of a clause make of it: supposed, denied as a whole, elliptic."""

# ruff: noqa: SIM905  (patterns and word lists read better on one line)
from __future__ import annotations

from collections.abc import Sequence

from faba_bench.strict import words
from faba_bench.strict.clauses import Clause
from faba_bench.strict.tokens import Token
from faba_bench.strict.verbs import finite

_SUPPOSING = frozenset(("if", "unless", "whether", "as if", "as though"))
_PRONOUNS = frozenset("it they this these those both neither none au aus unit units one the that clearly".split())
_NOBODY = frozenset(("no", "nothing", "none", "none of", "neither", "nor", "nobody", "no one", "not a"))
_BARE_END = frozenset(("too", "either", "also", "however", "though", "indeed", ",", "not", "here"))
_LINKING = frozenset("appear appears look looks seem seems has have remain remains stay stays".split())
_OWNER = frozenset(("with", "the", "a", "an", "of", "his", "her", "their", "in", "this", "that"))
_ADVERBS = frozenset("otherwise fairly rather largely mostly completely entirely very quite totally perfectly".split())
_LIST_GLUE = frozenset((">", ",", "and", "or", "nor", "+", "/"))


_FITTING = frozenset(
    "label answer answers code codes choice guess verdict pick right best better correct proper appropriate closest "
    "fitting".split()
)
_HOW = frozenset(("so", "as", "that", "quite", "very"))
_CLARITY = frozenset("clear sure certain obvious evident visible noticeable apparent likely convincing".split())


def main_verb(tokens: Sequence[Token]) -> int:
    """The place of the first finite verb, -1 where there is none."""
    for index in range(len(tokens)):
        if finite(tokens, index):
            return index
    return -1


def verb_behind_that(tokens: Sequence[Token], verb: int) -> int:
    """The verb that "That they are pressed (AU24)" is the subject of: "... is not the case"; else `verb`."""
    if len(tokens) < 4 or not (tokens[1].kind == "pronoun" or tokens[1].text in ("the", "his", "her", "their")):
        return verb
    last = next((i for i in range(len(tokens) - 1, verb, -1) if finite(tokens, i)), verb)
    return last if tokens[last].kind == "copula" else verb


def is_unreal(clause: Clause) -> bool:
    """Whether a clause claims nothing: "if ...", "one would expect ...", "had AU4 been there"."""
    tokens = clause.tokens
    if tokens and tokens[0].kind == "unreal":
        return True
    if clause.opened in _SUPPOSING:
        return True
    for index, token in enumerate(tokens):
        if token.kind == "unreal":
            if token.text in _SUPPOSING:
                return True
        elif token.kind == "modal" or token.kind == "not":
            if token.text == "would" and index + 1 < len(tokens) and tokens[index + 1].text in ("seem", "appear"):
                continue  # "it would seem that ..."
            if token.text in ("would", "'d", "wouldnt"):
                if any(item.text in _FITTING or item.text in words.WRONG for item in tokens):
                    continue  # "neutral would be the right word"
                if not (index and tokens[index - 1].text in ("i", "we")) or any(
                    item.text in words.WISHING for item in tokens[index + 1 : index + 3]
                ):
                    return True
            elif token.text == "had":
                first = index == 0 or (index == 1 and tokens[0].text in ("and", "but"))
                if first and index + 1 < len(tokens) and tokens[index + 1].kind not in ("not",):
                    return True
            elif token.text in ("could", "might", "may") and index + 1 < len(tokens):
                if tokens[index + 1].text == "have":
                    return True
                if any(item.text in words.SUPPOSING_VERB for item in tokens[index + 1 : index + 4]):
                    return True
                if any(item.text in words.ANYONE for item in tokens[:index]) and tokens[index + 1].text != "be":
                    return True  # "some people might see AU25"
        elif token.text == "were" and index == 0 and len(tokens) > 1 and clause.opened not in ("which", "and", ","):
            return True
    return False


def is_habitual(clause: Clause) -> bool:
    """Whether a clause says what is so in general: "disgust usually comes with AU9"."""
    for index, token in enumerate(clause.tokens):
        if token.text in words.HABIT:
            verb = main_verb(clause.tokens)
            return verb >= 0 and (abs(verb - index) <= 1) and not _of_this_face(clause.tokens)
    return False


def _of_this_face(tokens: Sequence[Token]) -> bool:
    """Whether a clause says "here" or "in this picture", as against "this pattern"."""
    for index, token in enumerate(tokens):
        behind = tokens[index + 1].text if index + 1 < len(tokens) else ""
        if token.text == "here" or (token.text == "this" and behind not in _KINDS):
            return True
    return False


_KINDS = frozenset("pattern combination expression emotion movement configuration action".split())


def is_degree(tokens: Sequence[Token], index: int) -> bool:
    """Whether a "not" denies a degree only: "not very strong"."""
    if tokens[index].text in ("hardly", "barely", "scarcely", "rarely", "seldom", "nowhere", "unable to"):
        return False
    ahead = index + 1
    while ahead < len(tokens) and tokens[ahead].text in ("be", "a", "an", "the", "really"):
        ahead += 1
    if ahead >= len(tokens):
        return False
    word = tokens[ahead].text
    if word in ("all", "any") or (word == "so" and tokens[ahead + 1 : ahead + 2] and tokens[ahead + 1].kind == "m"):
        return False  # "not so AU6"
    if any(token.text == "enough" for token in tokens[ahead : ahead + 4]):
        return False  # "not strong enough to be coded"
    if word in _HOW and any(token.text in _CLARITY for token in tokens[ahead + 1 : ahead + 2]):
        return any(token.text == "as" for token in tokens[ahead + 2 : ahead + 4])  # "not as visible as usual"
    if word == "so" and ahead + 1 < len(tokens) and tokens[ahead + 1].text == "much":
        return False
    if word == "as" and ahead + 1 < len(tokens) and tokens[ahead + 1].kind in ("copula", "modal"):
        return False
    return word in words.DEGREE


def is_bare(tokens: Sequence[Token], verb: int) -> bool:
    """ "AU25 is", "AU4 and AU5 are not", "but AU4 can": the rest of the predicate is that of the clause before."""
    if tokens[verb].kind not in ("copula", "modal") or tokens[verb].text in _LINKING:
        return False
    if verb > 1 and tokens[verb - 1].text == "it" and tokens[verb - 2].kind == "m":
        return False  # "so AU10 it is"
    return all(token.kind == "not" or token.text in _BARE_END for token in tokens[verb + 1 :])


def is_pronoun(tokens: Sequence[Token], verb: int) -> bool:
    """Whether nothing but a pronoun stands before the verb."""
    return all(token.text in _PRONOUNS for token in tokens[:verb])


def none_subject(tokens: Sequence[Token], verb: int) -> bool:
    """ "Nothing suggests AU4": a subject that denies what its verb says."""
    first = next((token.text for token in tokens if token.text not in ("and", ",")), "")
    return first in _NOBODY and not any(token.text == "and" for token in tokens[:verb])


def predicative(tokens: Sequence[Token], index: int) -> bool:
    """Whether an adjective says something of the subject: "AU4 absent", not "with uninvolved eyes"."""
    while index and tokens[index - 1].text in _ADVERBS:
        index -= 1
    return not (index and tokens[index - 1].text in _OWNER)


def ends_denial(tokens: Sequence[Token], index: int) -> bool:
    """Whether the comma closes ", not AU14," rather than going on with a list of what is denied."""
    behind = tokens[index + 1]
    if behind.text == "and":
        return True
    return behind.kind in ("copula", "modal", "verb", "present", "absent")


def glued(tokens: Sequence[Token], first: int, second: int) -> bool:
    """Whether only commas and the like stand between two tokens of a list."""
    return all(token.text in _LIST_GLUE for token in tokens[first + 1 : second])
