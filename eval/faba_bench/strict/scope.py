"""What a text says of each mention: claimed, denied, or neither.

Goes through the clauses of a sentence from left to right.  A mention before the verb takes the sign of the predicate
("AU4 is not visible", "AU4 cannot be ruled out"), one behind it the sign of all that denies up to it ("does not show",
"shows no", "fails to show").  A heading ("Absent:") opens a list; "if" and the like claim nothing.
"""

# ruff: noqa: E501, SIM905  (patterns and word lists read better on one line)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from faba_bench.strict import words
from faba_bench.strict.clauses import Clause, clauses, finite
from faba_bench.strict.tokens import Token

#: A mention behind a word of the kind named here is claimed less firmly.
_HEDGES = frozenset("might may perhaps possibly maybe potentially possible could".split())
_SAYING = frozenset(
    "say code call choose go label rate describe classify identify pick guess argue rule exclude opt lean conclude score put "
    "mark interpret read assign".split()
)


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


class _State:
    """What one clause leaves to the next."""

    def __init__(self) -> None:
        self.pending: list[Said] = []  # subjects that wait for their verb
        self.subject: list[Said] = []  # subjects of the last verb
        self.recent: list[Said] = []  # the mentions named last
        self.predicate = 1  # the sign of the last state, for "AU4 is not"
        self.running = 1  # the sign at the end of the last clause
        self.supposed = False  # the clause before says "if"
        self.exceptions: list[tuple[Said, str]] = []


def read_sentence(tokens: Sequence[Token], text: str, carried: int = 1, previous: int = 1) -> Outcome:
    """What one sentence says; `carried` is the sign of a heading that it stands under."""
    parts = clauses(tokens, text)
    outcome = Outcome([], [], parts, carried, [])
    state = _State()
    state.predicate = previous
    state.running = carried
    for number, clause in enumerate(parts):
        _read_clause(clause, number, carried, state, outcome)
    denied_at_large = -1 in outcome.generic or any(
        token.kind in ("absent", "rest") or token.text == "expressionless"
        for clause in parts
        for token in clause.tokens
    )
    for said, word in state.exceptions:
        said.sign = 1 if denied_at_large or word in words.ADDING else -1
    outcome.last_sign = state.predicate
    return outcome


def _main_verb(tokens: Sequence[Token]) -> int:
    for index in range(len(tokens)):
        if finite(tokens, index):
            return index
    return -1


def _read_clause(clause: Clause, number: int, carried: int, state: _State, outcome: Outcome) -> None:
    tokens = clause.tokens
    unreal = _is_unreal(clause)
    if state.supposed and any(token.text in ("would", "'d", "could", "might") for token in clause.tokens):
        unreal = True
    state.supposed = unreal and clause.tokens[0].text in (
        "if",
        "had",
        "were",
        "unless",
        "were it",
        "had it",
        "should there",
    )
    base = _inherited(clause, carried, state)
    verb = _main_verb(tokens)
    subjects: list[Said] = []
    objects: list[Said] = []
    generic_subject: list[int] = []
    deny = 1  # a denial of the noun phrase: "no", "without"
    attribute = 1  # "absent", "missing" before its noun
    verbs = 1  # "lacks", "rules out"
    negated = False  # "not" of the predicate
    predicate = 1  # "is absent"
    stated = False
    idle = False  # "shows no activity"
    company = False
    exception = ""
    nothing = 1  # "confused with ...": neither
    hedged = any(token.text in _HEDGES for token in tokens)
    comma_deny = False
    so_much = False
    less = False
    subject_deny = 1
    count = len(tokens)
    end_of_subject = verb if verb >= 0 else count
    for index, token in enumerate(tokens):
        kind = token.kind
        before_verb = index < end_of_subject
        if kind == "m":
            sign = deny * attribute * nothing
            if not before_verb:
                sign = verbs * nothing * (-1 if negated or deny < 0 else 1) * predicate
            elif verb < 0:
                sign *= verbs * (-1 if negated and deny == 1 else 1)
            said = Said(token, sign * base if not unreal else 0, number, hedged)
            if exception:
                state.exceptions.append((said, exception))
            outcome.said.append(said)
            attributive = index + 1 < count and tokens[index + 1].text in words.PEOPLE and verb >= 0
            if not attributive:
                (subjects if before_verb else objects).append(said)
            idle = idle and before_verb
        elif kind == "g" or (kind == "deny" and token.text in ("nothing", "none", "none of")):
            if kind == "deny":
                deny = -1
            if token.text == "nothing" and index + 1 < count and tokens[index + 1].text == "but":
                deny = 1
                continue
            if exception:
                continue
            if before_verb:
                generic_subject.append(deny * attribute)
            elif not unreal:
                outcome.generic.append(deny * verbs * (-1 if negated else 1) * base)
            if deny < 0 and not before_verb and token.text in words.ACTIVITY:
                idle = True
        elif kind == "deny":
            exception = ""
            if token.text == "not so much":
                so_much = True
            if token.text == "zero" and (index + 1 == count or tokens[index + 1].kind == "p"):
                predicate, stated = -predicate, True
                continue
            less = token.text == "less"
            comma_deny = index > 0 and tokens[index - 1].text == ","
            deny = -1
        elif (
            kind == "number"
            and token.text in ("0", "0.0")
            and index
            and tokens[index - 1].text in ("is", "at", "to", "are", "of", "be")
        ):
            predicate, stated = -predicate, True
        elif kind == "not":
            behind = tokens[index + 1] if index + 1 < count else None
            if _is_degree(tokens, index):
                continue
            if token.text == "barely" and index and tokens[index - 1].text in ("just", "but"):
                continue
            if before_verb and verb >= 0 and index + 1 == verb and subjects:
                negated = True
            elif (
                (before_verb and verb >= 0)
                or ((objects or stated) and not (behind and behind.kind == "present" and not objects))
                or (verb < 0 and subjects and not (behind and behind.kind in ("present", "absent", "rest")) and behind)
            ):
                deny = -1
                comma_deny = index > 0 and tokens[index - 1].text == ","
            elif verb < 0 and not subjects:
                deny = -1 if not (behind and behind.kind in ("absent", "rest")) else deny
                if behind and behind.kind in ("absent", "rest"):
                    negated = True
            else:
                negated = True
            if behind is not None and behind.text in words.COMPANY:
                company = True
        elif kind == "dverb":
            verbs = -verbs
            stated = stated or (token.text.startswith("fail") and True)
            if token.text.startswith(("fail", "refuse")):
                predicate, verbs = -predicate, -verbs
                if verb < 0 or before_verb:
                    verbs = -1
            if index + 1 < count and tokens[index + 1].text in ("it", "them", "this", "these") and not before_verb:
                for said in objects or subjects or state.recent:
                    said.sign = -1
            elif not objects and not subjects and index + 1 == count:
                for said in subjects if subjects else state.recent:
                    said.sign = said.sign
        elif kind == "absent":
            if index + 1 < count and tokens[index + 1].text in ("it", "them", "this", "these", "that"):
                for said in objects or subjects or state.recent:
                    said.sign = -1
                continue
            if before_verb and verb >= 0 and not subjects:
                attribute = -attribute
            elif verb < 0 and not subjects:
                attribute = -attribute * (-1 if negated else 1)
            elif objects and not before_verb and not _trailing(tokens, index):
                deny = -1
            elif verb < 0 and not _predicative(tokens, index):
                continue
            else:
                predicate = -predicate
                stated = True
        elif kind == "rest":
            if subjects and (verb < 0 or not before_verb) and not objects and _predicative(tokens, index):
                predicate, stated = -predicate, True
        elif kind == "present":
            stated = True
        elif kind == "except":
            exception = token.text
            deny = 1
        elif kind == "unreal" and index:
            nothing = 0
        elif kind == "reset" or (kind == "contrast" and token.text == "but"):
            if token.text not in ("just", "only", "simply") or not (index and tokens[index - 1].kind == "not"):
                deny, negated, verbs, exception = 1, False, 1, ""
                if not stated:
                    predicate = 1
        elif kind == "p" and token.text == ",":
            if comma_deny and index + 1 < count and _ends_denial(tokens, index):
                deny, comma_deny = 1, False
            exception = exception if index + 1 < count and tokens[index + 1].kind == "m" else ""
        elif token.text in words.COMPANY and negated:
            company = True
        elif token.text == "than" and less:
            deny, less = 1, False
        elif token.text == "as" and so_much:
            deny, so_much = 1, False
        elif token.text in words.ACTIVITY and deny < 0:
            idle = True
        elif index == verb and exception:
            exception = ""
        if index == verb:
            # What denied the subject does not deny what follows the verb, but "nothing suggests AU4" does.
            subject_deny = deny
            deny = -1 if deny < 0 and not subjects and _none_subject(tokens, verb) else 1
            exception = ""
            nothing = 1
    _finish(
        clause, number, unreal, base, verb, subjects, objects, generic_subject, state, outcome,
        negated=negated, predicate=predicate, stated=stated, idle=idle, company=company,
        attribute=attribute, deny=deny, verbs=verbs, subject_deny=subject_deny,
    )  # fmt: skip


def _none_subject(tokens: Sequence[Token], verb: int) -> bool:
    first = next((token.text for token in tokens if token.text not in ("and", ",")), "")
    return first in ("no", "nothing", "none", "none of", "neither", "nor", "nobody", "no one", "not a") and not any(
        token.text == "and" for token in tokens[:verb]
    )


def _predicative(tokens: Sequence[Token], index: int) -> bool:
    """Whether an adjective says something of the subject: "AU4 absent", not "with uninvolved eyes"."""
    return not (index and tokens[index - 1].text in ("with", "the", "a", "an", "of", "his", "her", "their", "in"))


def _trailing(tokens: Sequence[Token], index: int) -> bool:
    return index == len(tokens) - 1


def _finish(
    clause: Clause,
    number: int,
    unreal: bool,
    base: int,
    verb: int,
    subjects: list[Said],
    objects: list[Said],
    generic_subject: list[int],
    state: _State,
    outcome: Outcome,
    *,
    negated: bool,
    predicate: int,
    stated: bool,
    idle: bool,
    company: bool,
    attribute: int,
    deny: int,
    verbs: int,
    subject_deny: int,
) -> None:
    """Gives the subjects the sign of their predicate, and leaves to the next clause what it needs."""
    tokens = clause.tokens
    sign = predicate * (-1 if negated and not company else 1) * (-1 if idle and not objects else 1)
    elliptic = verb >= 0 and not stated and _bare(tokens, verb)
    if elliptic:
        sign = (-1 if negated else 1) * (1 if clause.opened == "that" else state.predicate)
    targets = subjects
    if verb >= 0 and not subjects:
        if clause.opened == "which" or (verb == 0 and state.pending):
            targets = state.pending or state.recent
            if clause.opened == "which" and state.pending:
                targets = state.recent
        elif _is_pronoun(tokens, verb) and not objects and (stated or negated or elliptic) and sign < 0:
            targets = state.recent
    elif (
        verb < 0
        and not subjects
        and clause.opened in ("(", "-", "–", "—", ":")
        and (stated or negated or attribute < 0)
    ):
        targets = state.recent if clause.opened == "(" else []
        sign = predicate * attribute * (-1 if negated or deny < 0 else 1)
    if not unreal and (verb >= 0 or stated or negated):
        own = targets is subjects
        for said in targets:
            if said.sign and not any(said is item for item, _ in state.exceptions):
                if own:
                    said.sign *= sign
                elif clause.opened == "which" and verb >= 0 and not (stated or elliptic):
                    continue
                elif sign < 0:
                    said.sign = -1
                elif targets is state.pending:
                    said.sign *= sign
        for generic in generic_subject:
            outcome.generic.append(generic * sign * base)
        if stated and not elliptic:
            state.predicate = predicate
    elif generic_subject and not unreal:
        outcome.generic += [generic * base for generic in generic_subject]
    if generic_subject and objects and generic_subject[0] * attribute < 0 and attribute < 0 and not unreal:
        for said in objects:
            said.sign = -abs(said.sign) * base
    elif attribute < 0 and verb >= 0 and not subjects and not generic_subject and objects:
        for said in objects:
            said.sign *= -1
    if not subjects and len(state.recent) > 1 and not unreal:
        _latter(tokens, sign, state.recent)
    if outcome.claims is not None:
        denied = -1 if deny < 0 and not objects else 1
        if verb >= 0:
            denied = subject_deny if subject_deny < 0 else denied
        outcome.claims.append(0 if unreal else base * sign * attribute * denied * verbs)
    if subjects and verb < 0 and not stated:
        state.pending = subjects
    elif verb >= 0 and clause.opened != "which":
        state.pending = []
    if subjects or objects:
        state.recent = _adjacent(tokens, [*subjects, *objects])
        state.subject = subjects
    state.running = base * (-1 if negated else 1) * deny * verbs * predicate * (attribute if not subjects else 1)
    if (generic_subject and not objects and generic_subject[-1] * sign < 0 and deny > 0) or (
        generic_subject and sign < 0 and not objects
    ):
        state.running = -base


def _latter(tokens: Sequence[Token], sign: int, recent: list[Said]) -> None:
    """ "Of AU6 and AU12, only the latter is active"."""
    spoken = {token.text for token in tokens}
    chosen = -1 if "latter" in spoken else 0 if "former" in spoken else None
    if chosen is None:
        return
    if "only" in spoken:
        for said in recent:
            said.sign = -sign
    recent[chosen].sign = sign


def _adjacent(tokens: Sequence[Token], said: list[Said]) -> list[Said]:
    """The last list of mentions: those with nothing but commas and "and" between them."""
    if len(said) < 2:
        return said
    places = {id(token): index for index, token in enumerate(tokens)}
    kept = [said[-1]]
    for item in reversed(said[:-1]):
        first, second = places[id(item.token)], places[id(kept[-1].token)]
        if any(token.text not in (",", "and", "or", "nor", "+", "/") for token in tokens[first + 1 : second]):
            break
        kept.append(item)
    return kept[::-1]


def _inherited(clause: Clause, carried: int, state: _State) -> int:
    """The sign that a clause starts with: of the claim that it is part of, or of the heading that it stands under."""
    if clause.opened == "that":
        return state.running or 1
    if _main_verb(clause.tokens) >= 0:
        return 1
    if clause.opened == "(":
        own = any(token.kind in ("deny", "not", "absent") for token in clause.tokens)
        return state.running if clause.has_mark and not state.recent and not own else 1
    if clause.opened == ":":
        return state.running if not state.recent else carried
    if clause.opened in (",", ";", "-", "–", "—", "", "and"):
        return carried
    return 1


def _is_unreal(clause: Clause) -> bool:
    tokens = clause.tokens
    if tokens and tokens[0].kind == "unreal":
        return True
    if clause.opened in ("if", "unless", "whether", "as if", "as though"):
        return True
    for index, token in enumerate(tokens):
        if token.kind == "unreal" and token.text in ("whether", "if", "as if", "as though", "unless"):
            return True
        if token.text in ("would", "'d", "wouldnt") and token.kind in ("modal", "not"):
            ahead = {item.text for item in tokens[index + 1 : index + 4]}
            if not ahead & _SAYING:
                return True
        if token.text == "had" and index == 0 and len(tokens) > 1 and tokens[1].kind not in ("not",):
            return True
        if token.text in ("could", "might") and index + 1 < len(tokens) and tokens[index + 1].text == "have":
            return True
    return False


def _is_degree(tokens: Sequence[Token], index: int) -> bool:
    if tokens[index].text in ("hardly", "barely", "scarcely", "rarely", "seldom", "nowhere", "unable to"):
        return False
    ahead = index + 1
    while ahead < len(tokens) and tokens[ahead].text in ("be", "a", "an", "the", "really"):
        ahead += 1
    if ahead >= len(tokens):
        return False
    word = tokens[ahead].text
    if word in ("all", "any"):
        return False
    if word == "as" and ahead + 1 < len(tokens) and tokens[ahead + 1].kind in ("copula", "modal"):
        return False
    return word in words.DEGREE


def _bare(tokens: Sequence[Token], verb: int) -> bool:
    """ "AU25 is", "AU4 and AU5 are not", "but AU4 can": the rest of the predicate is that of the clause before."""
    if tokens[verb].kind not in ("copula", "modal"):
        return False
    if tokens[verb].text in ("appear", "appears", "look", "looks", "seem", "seems", "has", "have"):
        return False
    return all(
        token.kind == "not"
        or token.text in ("too", "either", "also", "however", "though", "indeed", ",", "not", "here")
        for token in tokens[verb + 1 :]
    )


def _is_pronoun(tokens: Sequence[Token], verb: int) -> bool:
    return all(
        token.text
        in (
            "it",
            "they",
            "this",
            "these",
            "both",
            "neither",
            "none",
            "au",
            "aus",
            "unit",
            "units",
            "one",
            "the",
            "that",
            "clearly",
        )
        for token in tokens[:verb]
    )


def _ends_denial(tokens: Sequence[Token], index: int) -> bool:
    """Whether the comma closes ", not AU14," rather than going on with a list of what is denied."""
    behind = tokens[index + 1]
    if behind.text == "and":
        return True
    return behind.kind in ("copula", "modal", "verb", "present", "absent")
