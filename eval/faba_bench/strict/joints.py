"""Where one clause ends and the next one begins: commas, "and", "as", "that" and the like, by what follows them."""

# ruff: noqa: SIM905  (patterns and word lists read better on one line)
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from faba_bench.strict import words
from faba_bench.strict.tokens import Token
from faba_bench.strict.verbs import FINITE, STATES, finite, is_complete

if TYPE_CHECKING:
    from faba_bench.strict.clauses import Clause

_WINDOW = 14
_SUBORDINATE = frozenset("as since because if when although though while whereas given unless".split())
_IN_SPITE_OF = frozenset(("despite", "in spite of"))
_THE_REST = frozenset("others other rest remaining else".split())
_PLURAL = frozenset("are were have do".split())
_AND = frozenset(("and", "or"))
_ATTRIBUTIVE = frozenset("other any a an the some no".split())  # "or any other strong feeling"
_TIMES = frozenset("frame picture image photo clip shot moment second minute day one".split())
_THINKING = frozenset("think believe say know see conclude suggests indicates implies means shows find doubt".split())


def nominal_contrast(tokens: Sequence[Token], index: int) -> bool:
    """Whether a conjunction goes on with a noun: "nothing but AU4", "after the frame"."""
    token = tokens[index]
    if token.text == "because" and index > 1 and _not_before(tokens, index):
        return True  # "because of AU10, not because of AU12"
    if token.text in ("because", "despite", "in spite of", "so that"):
        return False
    if token.text == "but" and index and tokens[index - 1].text in ("nothing", "anything", "none", "everything", "all"):
        return True
    if token.text == "but" and _but_one(tokens, index):
        return True
    if token.text in ("before", "after") and index and tokens[index - 1].text in _TIMES:
        return True
    if token.text in ("before", "after", "when", "until"):
        return not _clause_ahead(tokens, index)
    return False


def _not_before(tokens: Sequence[Token], index: int) -> bool:
    before = tokens[index - 1]
    return before.text == "and not" or (before.kind == "not" and tokens[index - 2].text == ",")


def _but_one(tokens: Sequence[Token], index: int) -> bool:
    """ "all of them but AU1": an exception."""
    before = [token.text for token in tokens[max(0, index - 3) : index]]
    return before[-1:] in (["them"], ["these"], ["those"]) and "all" in before and tokens[index + 1 : index + 2] != []


def relative_that(tokens: Sequence[Token], index: int) -> bool:
    """ "AU4 that is ...": a "that" behind a mention, before its verb."""
    if not index or index + 1 >= len(tokens):
        return False
    before, behind = tokens[index - 1], tokens[index + 1]
    return before.kind == "m" and behind.kind in FINITE


def clause_as(tokens: Sequence[Token], index: int, current: Clause) -> bool:
    """ "as the brows are raised", not "as well as" or "as visible as"."""
    behind = tokens[index + 1]
    if index and tokens[index - 1].text == "," and behind.text not in ("well", "if", "though", "opposed", "such"):
        return True
    if any(token.text in ("as", "so") for token in tokens[max(0, index - 3) : index]):
        return behind.kind == "pronoun"  # "as clear as AU9", as against "as clear as one would expect"
    if behind.text in ("well", "if", "in", "a", "an", "such", "though", "opposed") or behind.kind in (
        "present",
        "absent",
    ):
        return False
    if behind.kind in ("copula", "modal"):
        return True
    return is_complete(current.tokens) and _clause_ahead(tokens, index)


def embeds(tokens: Sequence[Token], index: int) -> bool:
    """ "I think AU4 is absent": a claim inside a claim, without "that"."""
    if tokens[index].text not in _THINKING or index + 1 >= len(tokens) or tokens[index + 1].text == "that":
        return False
    return _clause_ahead(tokens, index, listing=_lists_subjects(tokens, index + 1))


def _lists_subjects(tokens: Sequence[Token], start: int) -> bool:
    """ "means AU1, AU2 and AU4 are not coded": a list that is the subject of a verb in the plural."""
    end = start
    while end < len(tokens) and (tokens[end].kind == "m" or tokens[end].text in (",", "and", "or", "/", "+", "&")):
        end += 1
    marks = sum(token.kind == "m" for token in tokens[start:end])
    return (
        marks > 1 and end < len(tokens) and (tokens[end].text in _PLURAL or (marks > 2 and tokens[end].kind == "modal"))
    )


def splits(tokens: Sequence[Token], index: int, current: Clause) -> bool:
    """Whether the comma or "and" at `index` ends the current clause."""
    ahead = index + 1
    while ahead < len(tokens) and tokens[ahead].text in ("and", ",", "then", "also", "or"):
        ahead += 1
    if ahead >= len(tokens) or not current.tokens:
        return False
    comma = tokens[index].text == ","
    if not comma and tokens[ahead].kind == "m" and (_resultative(current.tokens) or _between(current.tokens)):
        return False
    behind = tokens[ahead]
    if comma and behind.kind == "m" and current.tokens[0].text == "with" and _list_with_state(tokens, ahead, current):
        return False  # "with AU6, AU7 and AU25 missing"
    if comma and behind.kind == "m" and _lists_candidates(tokens, ahead, current):
        return False  # "of the fear units AU4, AU7 and AU20 none is"
    leads = current.tokens[0].text.split(" ")[0] in words.FRONTED or current.tokens[0].kind == "unreal"
    leads = leads or (current.opened in _SUBORDINATE and behind.kind != "m") or current.opened in _IN_SPITE_OF
    if behind.kind == "m" and _subjects_of_subordinate(tokens, index):
        return False
    fronted = comma and leads and not is_complete(current.tokens)
    whole = is_complete(current.tokens)
    if (
        comma
        and behind.text in ("all", "the", "every", "everything", "everyone")
        and ahead + 1 < len(tokens)
        and tokens[ahead + 1].text in _THE_REST
    ):
        return True
    if comma and len(current.tokens) > 1 and _absolute(current.tokens, 0):
        return True
    if comma and _absolute(tokens, ahead) and any(token.kind == "m" for token in current.tokens):
        return True
    subordinate = whole and (current.opened in _SUBORDINATE or current.tokens[0].text in _SUBORDINATE)
    if comma and subordinate and (behind.kind != "m" or not any(token.kind == "m" for token in current.tokens)):
        return True
    if comma and current.opened in _SUBORDINATE and behind.kind in ("copula", "modal", "verb"):
        return True
    if comma and behind.text.split(" ")[0] in words.PARTICIPLE and current.tokens:
        return True
    if behind.text in ("nor", "neither") and ahead + 1 < len(tokens) and tokens[ahead + 1].kind in ("copula", "modal"):
        return True
    if (
        comma
        and behind.text in ("in", "overall")
        and ahead + 1 < len(tokens)
        and tokens[ahead + 1].text in ("short", "sum")
    ):
        return True
    if comma and behind.kind == "m" and _denied_at_end(tokens, ahead):
        return True  # "AU2 only on the right, AU1 nowhere"
    if not (whole or fronted):
        # "AU4 was, the picture ..." does not occur; "Mouth closed, AU25 absent" does.
        return False
    if behind.kind in ("copula", "modal", "verb") and behind.text not in ("'s",):
        return not fronted
    return _clause_ahead(tokens, ahead - 1)


def _resultative(tokens: Sequence[Token]) -> bool:
    """ "makes AU1 and ... impossible to judge": the object of such a verb, and nothing said of it yet."""
    start = len(tokens)
    while start and (tokens[start - 1].kind == "m" or tokens[start - 1].text in (",", "and", "or")):
        start -= 1
    return 0 < start < len(tokens) and tokens[start - 1].text in _MAKING


def _denied_at_end(tokens: Sequence[Token], index: int) -> bool:
    if index + 1 < len(tokens) and tokens[index + 1].text == "nowhere":
        return _ends_here(tokens, index + 1)
    if index + 2 >= len(tokens) or tokens[index + 1].kind != "not" or not _ends_here(tokens, index + 2):
        return False
    return tokens[index + 2].kind == "word" and tokens[index + 2].text.endswith("ed")  # "AU4 not lowered"


def _between(tokens: Sequence[Token]) -> bool:
    return len(tokens) > 1 and tokens[-1].kind == "m" and tokens[-2].text == "between"


def _lists_candidates(tokens: Sequence[Token], ahead: int, current: Clause) -> bool:
    if current.tokens[0].text not in ("of", "among", "amongst") or current.tokens[-1].kind != "m":
        return False
    behind = tokens[ahead + 1] if ahead + 1 < len(tokens) else None
    return behind is not None and behind.kind not in ("copula", "modal", "verb")


def _list_with_state(tokens: Sequence[Token], ahead: int, current: Clause) -> bool:
    if not all(token.kind == "m" or token.text in (",", "and", "or") for token in current.tokens[1:]):
        return False
    while ahead < len(tokens) and (tokens[ahead].kind == "m" or tokens[ahead].text in (",", "and", "or")):
        ahead += 1
    return ahead < len(tokens) and tokens[ahead].kind in STATES


_MAKING = frozenset("make makes made leave leaves left render renders deem consider find keep keeps".split())


def _ends_here(tokens: Sequence[Token], index: int) -> bool:
    return index + 1 == len(tokens) or tokens[index + 1].kind == "p"


def _subjects_of_subordinate(tokens: Sequence[Token], index: int) -> bool:
    """ "what AU25 and AU26 would describe": the list is the subject of what follows it."""
    before = index - 1
    while before >= 0 and (tokens[before].kind == "m" or tokens[before].text in (",", "and")):
        before -= 1
    return 0 <= before < index - 1 and tokens[before].text == "what"


def _absolute(tokens: Sequence[Token], start: int) -> bool:
    """ "..., the eyes uninvolved": another subject, with a state and without a verb."""
    end = next((i for i in range(start, len(tokens)) if tokens[i].text in (",", ";", "and", "while")), len(tokens))
    inside = tokens[start:end]
    if len(inside) < 2 or inside[-1].kind not in ("absent", "rest") or inside[0].kind != "word":
        return False
    return all(token.kind == "word" for token in inside[:-1])


def _clause_ahead(tokens: Sequence[Token], index: int, listing: bool = True) -> bool:
    """Whether a subject and its verb follow, before the next break; `listing` lets commas join several subjects."""
    subject = False
    marked = False
    for ahead in range(index + 1, min(len(tokens), index + 1 + _WINDOW)):
        token = tokens[ahead]
        if token.kind == "p":
            if token.text in "()[]":
                continue
            behind = tokens[ahead + 1] if ahead + 1 < len(tokens) else token
            if token.text == "," and marked and listing and (behind.kind in ("m", "g") or behind.text in ("and", "or")):
                continue  # "AU4, AU7 and AU9 are not"
            return False
        if token.kind == "contrast" or token.kind == "relative":
            return False
        if subject and finite(tokens, ahead):
            return True
        if marked and token.kind in STATES and tokens[ahead - 1].text not in _ATTRIBUTIVE | _AND:
            return True
        if marked and token.kind == "not" and tokens[ahead - 1].kind == "m" and _ends_here(tokens, ahead):
            return True  # "AU12 present, AU25 not"
        if token.kind in ("m", "g"):
            subject = marked = True
        elif token.text not in ("and", "or"):
            subject = True
    return False
