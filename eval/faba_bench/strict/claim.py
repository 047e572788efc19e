"""What a clause starts from, what its predicate says of its subjects at its end, and what it leaves to the next."""

# ruff: noqa: E501, SIM905  (patterns and word lists read better on one line)
from __future__ import annotations

from collections.abc import Sequence

from faba_bench.strict import frames, words
from faba_bench.strict.clauses import Clause
from faba_bench.strict.said import Outcome, Said, State, adjacent, all_of_them, in_order, only_one, the_latter
from faba_bench.strict.tokens import Token

#: A mention in a clause with one of these is claimed less firmly.
_HEDGES = frozenset("might may perhaps possibly maybe potentially possible could".split())
_WOULD = frozenset(("would", "'d", "could", "might"))
_CONDITIONS = frozenset(("if", "had", "were", "unless", "were it", "had it", "should there"))
_AMONG = frozenset(("of", "among", "amongst", "between"))
_EMPTY_WORDS = frozenset(
    "so part of the case at in on this that really here appear to be any all a an and by for face image picture person now quite yet too".split()
)
_REASONS = frozenset(("because", "since", "as", "given that"))
_GLUE = frozenset((",", "and", "or", "/", "&", "+", "too"))


def _is_content(token: Token) -> bool:
    """A word that says something of its own: "it hasn't been stretched", as against "it isn't part of this"."""
    return (token.kind == "word" and token.text not in _EMPTY_WORDS) or token.text in ("open", "close")


class Claim:
    """One clause while it is read: its signs so far, its subjects and objects."""

    # What every clause starts with.
    deny = 1  # a denial of the noun phrase: "no", "without"
    denied_at = -1  # where it began
    attribute = 1  # "absent", "missing" before its noun
    verbs = 1  # "lacks", "rules out"
    negated = False  # "not" of the predicate
    predicate = 1  # "is absent"
    stated = False
    idle = False  # "shows no activity"
    company = False  # "not accompanied by"
    exception = ""
    nothing = 1  # "confused with ...": neither
    comma_deny = False
    so_much = False
    less = False
    subject_deny = 1
    elliptic = False
    none_alone = False  # "none (neutral)"
    released = False  # "is missing from": the predicate ends here
    tentative = False  # "was considered"

    def __init__(self, clause: Clause, number: int, carried: int, state: State, outcome: Outcome) -> None:
        self.clause, self.number, self.state, self.outcome = clause, number, state, outcome
        self.tokens = tokens = clause.tokens
        self.count = len(tokens)
        spoken = self.spoken = {token.text for token in tokens}
        self.unreal = frames.is_unreal(clause)
        following = outcome.clauses[number + 1] if number + 1 < len(outcome.clauses) else None
        if not spoken.isdisjoint(_WOULD) and (
            state.supposed or (following is not None and following.tokens[0].text in _CONDITIONS and "would" in spoken)
        ):
            self.unreal = True
        state.supposed = self.unreal and tokens[0].text in _CONDITIONS
        if state.supposed and not spoken.isdisjoint(words.CHOOSING):
            state.supposed, state.forced = False, True
        elif state.forced and self.unreal and clause.opened != "if":
            self.unreal = False  # "if I had to choose, it would be ..."
        self.verb = frames.main_verb(tokens)
        if tokens[0].text == "that" and not number:
            self.verb = frames.verb_behind_that(tokens, self.verb)
        if tokens[0].text == "for" and self.verb < 0 and number + 1 < len(outcome.clauses):
            self.unreal = self.unreal or frames.is_unreal(
                outcome.clauses[number + 1]
            )  # "for AU6, ... would have to be ..."
        if number + 1 < len(outcome.clauses) and outcome.clauses[number + 1].opened == "what-is":
            self.unreal = True  # "What looks like fear is ..."
        self.base = self._inherited(carried)
        self.end_of_subject = self._inverted() or (self.verb if self.verb >= 0 else self.count)
        self.hedged = not spoken.isdisjoint(_HEDGES)
        self.subjects: list[Said] = []
        self.objects: list[Said] = []
        self.generic_subject: list[int] = []
        self.lacked: list[Said] = []  # of whose "lack" or "absence" the predicate speaks
        #: "Of AU4, AU5 and AU7, two are visible": named, and nothing said of them.
        self.partitive = (
            tokens[0].text in _AMONG
            and clause.opened != "because"
            and self.count > 2
            and tokens[1].kind in ("m", "word")
        )
        if self.partitive:
            self.nothing = 0

    def _echoes(self) -> bool:
        """ "... and so does AU2", "as are AU1 and AU4", "nor is AU7": the predicate of the clause before, of another subject."""
        tokens = self.tokens[1:] if self.tokens[0].text == "and" else self.tokens
        auxiliary = 1 if tokens[0].text in ("so", "nor", "neither", "as") else 0
        if not (auxiliary or self.clause.opened in ("so", "as")) or len(tokens) < auxiliary + 2 or self.unreal:
            return False
        if tokens[auxiliary].kind not in ("copula", "modal") or not self.objects:
            return False
        if not all(token.kind == "m" or token.text in _GLUE for token in tokens[auxiliary + 1 :]):
            return False
        sign = -self.state.predicate if tokens[0].text in ("nor", "neither") else self.state.predicate
        for said in self.objects:
            said.sign = sign
        self.state.recent = self.objects
        return True

    def _inverted(self) -> int:
        """Where the subject of "is AU12 missing" ends; 0 where the clause does not begin with its verb."""
        if self.verb != 0 or self.tokens[0].kind != "copula" or self.count < 3 or self.tokens[1].kind != "m":
            return 0
        return next((index for index, token in enumerate(self.tokens) if token.kind in ("absent", "present")), 0)

    def _inherited(self, carried: int) -> int:
        """The sign that a clause starts with: of the claim that it is part of, or of the heading that it stands under."""
        clause, state = self.clause, self.state
        if clause.opened == "that":
            if self.number and self.outcome.clauses[self.number - 1].tokens[0].text == "that":
                return 1  # "That he doesn't show teeth means AU25 isn't active": it denies its own
            return state.running or 1
        if self.verb >= 0:
            return 1
        if clause.opened == "(":
            own = any(token.kind in ("deny", "not", "absent") for token in clause.tokens)
            return state.running if clause.has_mark and not state.recent and not own else 1
        if clause.opened == ":" and any(token.kind in ("deny", "not", "absent") for token in clause.tokens):
            return 1  # "The nose is calm: no AU9"
        if clause.opened == "i.e." and not any(token.kind in ("deny", "not", "absent") for token in clause.tokens):
            return state.running  # "no brow movement, i.e. AU1, AU2 and AU4"
        if clause.opened == ":" and self.number and self._follows():
            return state.running  # "the following are not visible: AU1, AU2"
        if clause.opened == ":":
            return state.running if not state.recent else carried
        if clause.opened in (",", ";", "-", "–", "—", "", "and"):
            if (
                self.number
                and self.tokens[0].text == "and"
                and self.outcome.clauses[self.number - 1].opened in _REASONS
            ):
                return state.main  # "I rule out anger, because ..., and fear, because ..."
            return carried
        return 1

    def _announces(self) -> bool:
        """ "It's not clear that AU5 is": what follows is what it speaks of."""
        following = self.outcome.clauses[self.number + 1 : self.number + 2]
        return bool(following) and (following[0].opened in ("that", "whether", "if"))

    def _follows(self) -> bool:
        before = self.outcome.clauses[self.number - 1]
        return not before.has_mark and any(token.text in ("following", "ones") for token in before.tokens)

    def _behind(self, index: int) -> Token | None:
        return self.tokens[index + 1] if index + 1 < self.count else None

    def _finish(self) -> None:
        """Gives the subjects the sign of their predicate, and leaves to the next clause what it needs."""
        clause, state, tokens, verb = self.clause, self.state, self.tokens, self.verb
        sign = self.predicate * (-1 if self.negated and not self.company else 1)
        sign *= -1 if self.idle and not self.objects else 1
        if self._fronted():
            sign *= self.verbs
        elliptic = self.elliptic = verb >= 0 and not self.stated and frames.is_bare(tokens, verb)
        if elliptic:
            sign = (-1 if self.negated else 1) * (1 if clause.opened == "that" else state.predicate)
        targets, sign = self._targets(sign, elliptic)
        if not self.unreal and (verb >= 0 or self.stated or self.negated):
            self._apply(targets, sign, elliptic)
            for generic in self.generic_subject:
                self.outcome.generic.append(generic * sign * self.base)
            if self.generic_subject and self.generic_subject[0] * sign < 0:
                if tokens[0].text == "of":
                    targets = self.subjects
                else:
                    targets = (state.recent or state.before) if self._of_these() else ()
                for said in targets:
                    said.sign = -1
            if self.stated and not elliptic:
                state.predicate = self.predicate
        elif self.generic_subject and not self.unreal:
            self.outcome.generic += [generic * self.base for generic in self.generic_subject]
        self._of_generic_subject()
        if len(self.subjects) > 1 and self.verb >= 0 and not self.unreal:
            the_latter(tokens[: self.verb], sign, adjacent(tokens, self.subjects), "better" in tokens[-1].text)
        if self.stated and not self.unreal:
            only_one(tokens, sign, [*self.subjects, *self.objects], state.recent or state.before)
        if not self.subjects and not self.unreal:
            recent = state.recent if len(state.recent) > 1 else state.before
            if not (verb > 0 and in_order(tokens[:verb], sign, recent)):
                the_latter(tokens, sign, recent)
            if sign > 0 and self.deny > 0:
                all_of_them(tokens, recent, state.exceptions)
        if self.outcome.claims is not None:
            denied = -1 if self.deny < 0 and not self.objects and not self.idle else 1
            if verb >= 0 and self.subject_deny < 0:
                denied = self.subject_deny
            claim = self.base * sign * self.attribute * denied * self.verbs
            self.outcome.claims.append(0 if self.unreal else claim)
            if claim < 0 and not self.unreal and not self.subjects and not self.objects:
                for said in state.topic:
                    said.sign = -1
            state.topic = self.subjects if clause.opened == "topic" else []
        self._leave(sign)

    def _fronted(self) -> bool:
        """ "AU25 and AU26 I would leave out": the mentions before the subject are the object."""
        if not self.subjects or self.objects or self.verb < 2:
            return False
        return self.tokens[self.verb - 1].text in ("i", "we", "one") and self.tokens[self.verb - 2].kind in ("m", "p")

    def _targets(self, sign: int, elliptic: bool) -> tuple[Sequence[Said], int]:
        """The mentions that the predicate speaks of, and its sign for them."""
        clause, state = self.clause, self.state
        if self.verb >= 0 and not self.subjects:
            if clause.opened == "and" and self.verb == 0 and state.subject and not state.pending and not self.objects:
                return state.subject, sign  # "AU7 is hidden by AU6 and cannot be coded"
            if clause.opened == "which" or (self.verb == 0 and state.pending):
                if clause.opened == "which" and state.pending:
                    return state.recent, sign
                return state.pending or state.recent, sign
            said_of = self.stated or self.negated or elliptic
            if not self.stated and not elliptic and any(_is_content(token) for token in self.tokens[self.verb :]):
                said_of = False  # "it hasn't been stretched"
            announced = self.tokens[0].text == "it" and self._announces()
            if (
                frames.is_pronoun(self.tokens, self.verb)
                and not self.objects
                and said_of
                and sign < 0
                and not announced
            ):
                return state.recent, sign
        elif (
            self.verb < 0
            and not self.subjects
            and clause.opened in ("(", "-", "–", "—", ":")
            and (self.stated or self.negated or self.attribute < 0)
        ):
            sign = self.predicate * self.attribute * (-1 if self.negated or self.deny < 0 else 1)
            alone = clause.opened == ":" and self.count <= 3 and not any(map(_is_content, self.tokens))
            return (state.recent if clause.opened == "(" or alone else []), sign
        return self.subjects, sign

    def _apply(self, targets: Sequence[Said], sign: int, elliptic: bool) -> None:
        own = targets is self.subjects
        exceptions = {id(item) for item, _ in self.state.exceptions}
        for said in targets:
            if not said.sign or id(said) in exceptions or (sign < 0 and said in self.lacked):
                continue
            if own:
                said.sign *= 0 if self.tentative else sign
            elif self.clause.opened == "which" and self.verb >= 0 and not (self.stated or elliptic or self._has_gap()):
                continue
            elif sign < 0:
                said.sign = -1

    def _has_gap(self) -> bool:
        """ "AU12, which I do not see": the relative is the object of the last verb."""
        return self.tokens[0].text in ("i", "we", "one", "you") and self.tokens[-1].text in words.PERCEIVING

    def _of_these(self) -> bool:
        """ "None of these is visible": what is denied are the mentions before."""
        return any(
            (token.text in ("these", "those", "them") or (token.text == "the" and self._counts(index + 1)))
            and index
            and self.tokens[index - 1].text in ("of", "none of")
            for index, token in enumerate(self.tokens)
        )

    def _counts(self, index: int) -> bool:
        return index < self.count and self.tokens[index].text in ("two", "three", "four", "five", "six", "units", "aus")

    def _of_generic_subject(self) -> None:
        generic = self.generic_subject
        if generic and self.objects and generic[0] * self.attribute < 0 and self.attribute < 0 and not self.unreal:
            for said in self.objects:
                said.sign = -abs(said.sign) * self.base
        elif self.attribute < 0 and self.verb >= 0 and not self.subjects and not generic and self.objects:
            for said in self.objects:
                said.sign *= -1

    def _leave(self, sign: int) -> None:
        state = self.state
        if self.subjects and self.verb < 0 and not self.stated:
            state.pending = self.subjects
        elif self.verb >= 0 and self.clause.opened != "which":
            state.pending = []
        if self.subjects or self.objects:
            state.recent = adjacent(self.tokens, [*self.subjects, *self.objects])
            state.subject = self.subjects
        state.running = self.base * (-1 if self.negated else 1) * self.deny * self.verbs * self.predicate
        state.running *= self.attribute if not self.subjects else 1
        if self.clause.opened not in _REASONS and self.objects:
            state.main = self.objects[-1].sign
        generic = self.generic_subject
        if self.elliptic:
            state.running = self.base
        if generic and not self.objects and (sign < 0 or (generic[-1] * sign < 0 and self.deny > 0)):
            state.running = -self.base
        if self.none_alone or (not self.objects and self.tokens[-1].text in ("so", "true", "case", "it")):
            state.running = self.base  # "Neither is so: neutral"
