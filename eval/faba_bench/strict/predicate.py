"""What one clause says of the mentions in it.

A mention before the verb takes the sign of the predicate ("AU4 is not visible", "AU4 cannot be ruled out"), one behind it
the sign of all that denies up to it ("does not show", "shows no", "fails to show").
"""

# ruff: noqa: E501, SIM905  (patterns and word lists read better on one line)
from __future__ import annotations

from collections.abc import Callable

from faba_bench.strict import frames, words
from faba_bench.strict.said import Said, adjacent
from faba_bench.strict.tokens import Token
from faba_bench.strict.turns import Turns

_OBJECT_PRONOUNS = frozenset(("it", "them", "this", "these", "both", "either"))
_STATES = frozenset(("absent", "present", "rest"))
_THEM = frozenset("it them this these that both".split())
_HOW = frozenset(("most", "more", "very", "quite"))
_WHOLES = frozenset(("all", "them", "these", "those"))
_ONES = frozenset("one ones aus units au".split())
_APART = frozenset(("apart", "apart from", "from"))
_GRADES = frozenset("low high medium moderate mild slight certain noticeable detectable lower higher".split())


#: Words that `_word` has a rule for.
_SPEAKING = (
    frozenset("rests and tell distinguish for about between from out off code codes than as only two three".split())
    | words.TENTATIVE
    | words.SUSPECTING
    | words.CODING
    | words.PERCEIVING
    | words.WRONG
    | words.COMPANY
    | words.ACTIVITY
)


class ClauseReader(Turns):
    """Reads one clause from left to right into the outcome."""

    def read(self) -> None:
        """Read the clause."""
        for index, token in enumerate(self.tokens):
            reader = _READERS.get(token.kind)
            if reader is None or not reader(self, index, token):
                self._word(index, token)
            if index == self.verb:
                # What denied the subject does not deny what follows the verb, but "nothing suggests AU4" does.
                self.subject_deny = self.deny
                none = self.deny < 0 and not self.subjects and frames.none_subject(self.tokens, self.verb)
                none = (
                    none
                    or (index > 0 and self.tokens[index - 1].text in ("neither", "nor"))
                    or self._adverb_denies(index)
                )
                self.deny = -1 if none else 1
                self.exception = ""
                self.nothing = 1
        if not self._echoes():
            self._finish()

    def _mention(self, index: int, token: Token) -> bool:
        before_verb = index < self.end_of_subject
        behind = self._behind(index)
        if before_verb:
            sign = self.deny * self.attribute * self.nothing
            if self.verb < 0:
                sign *= self.verbs * (-1 if self.negated and self.deny == 1 else 1)
        else:
            hidden = self.negated and self.clause.opened != "so that"  # "so that the red is hardly visible (AU24)"
            sign = self.verbs * self.nothing * (-1 if hidden or self.deny < 0 else 1)
            sign *= 1 if self.released else self.predicate
        if sign < 0 and not self.negated and self._has_level(index):
            sign = self.deny = 1
        if (
            index > 1
            and self.tokens[index - 1].text in words.SEEMING
            and self.tokens[index - 2].text in ("the", "an", "any")
        ):
            sign = 0  # "the apparent AU9"
        granted = self.unreal and self._granted(index)
        sign, unreal = (1, False) if granted else (sign, self.unreal)
        said = Said(token, sign * self.base if not unreal else 0, self.number, self.hedged)
        if self.exception:
            self.state.exceptions.append((said, self.exception))
        elif before_verb and self.deny < 0 and self.tokens[self.denied_at].text in words.LACK:
            self.lacked.append(said)
        self.outcome.said.append(said)
        attributive = behind is not None and behind.text in words.PEOPLE and self.verb >= 0
        if not attributive:
            (self.subjects if before_verb else self.objects).append(said)
        self.idle = self.idle and before_verb and not (self.verb < 0 and self.deny < 0)
        return True

    def _generic(self, index: int, token: Token) -> bool:
        behind = self._behind(index)
        if token.kind == "deny" and self._only_degree(index):
            return True  # "none of them strong, but all of them visible"
        if token.kind == "deny":
            self.deny, self.denied_at = -1, index
            if token.text in ("none", "nothing") and behind is None and self.subjects and self.tokens[0].text == "for":
                self.predicate, self.stated = -1, True  # "For AU12 there is none"
                return True
            if token.text == "nothing" and behind is not None and behind.text == "but":
                self.deny = 1
                return True
        if token.kind == "deny" and behind is None and (self._has_none(index) or self._on_none(index)):
            self.deny, self.predicate, self.stated = 1, -1, True  # "AU23 has none"
            return True
        if self.exception:
            return True
        before_verb = index < self.end_of_subject
        if before_verb:
            self.generic_subject.append(self.deny * self.attribute)
        elif not self.unreal:
            self.outcome.generic.append(self.deny * self.verbs * (-1 if self.negated else 1) * self.base)
        if self.deny < 0 and not before_verb and token.text in words.ACTIVITY:
            self.idle = True
        if (
            token.kind == "deny"
            and token.text != "none of"
            and (behind is not None or self.count <= 2)
            and not self._goes_on(index)
            and (behind is None or behind.text in (",", "(") or (behind.kind == "m" and token.text == "none"))
        ):
            self.deny = 1  # "none, i.e. neutral"
            self.none_alone = index == 0
        return True

    def _deny(self, index: int, token: Token) -> bool:
        if token.text in ("nothing", "none", "none of"):
            return self._generic(index, token)
        self.exception = ""
        behind = self._behind(index)
        if behind is None and self.verb < 0:
            self.predicate, self.stated = -self.predicate, True  # "AU1 on neither"
            return True
        if token.text == "not so much":
            self.so_much = True
        elif token.text == "zero" and (behind is None or behind.kind == "p"):
            self.predicate, self.stated = -self.predicate, True
            return True
        elif token.text == "less":
            self.less = any(item.text == "than" for item in self.tokens[index + 1 : index + 8])
            if (
                not self.less
                and self.verb >= 0
                and self.subjects
                and behind is not None
                and behind.text in words.LIKELY
            ):
                self.predicate, self.stated = -self.predicate, True  # "AU24 is the less accurate one"
            if not self.less:
                return True  # "and, less strongly, AU7"
        self.comma_deny = index > 0 and self.tokens[index - 1].text == ","
        self.deny, self.denied_at = -1, index
        return True

    def _number(self, index: int, token: Token) -> bool:
        low = False
        if token.text.endswith("%") and self.verb >= 0 and self.subjects:
            low = float(token.text[:-1]) < 50 and not any(item.text in words.STRENGTH for item in self.tokens)
        elif token.text in ("0", "0.0"):
            low = index > 0 and self.tokens[index - 1].text in words.BEFORE_A_SCORE
        if low:
            self.predicate, self.stated = -self.predicate, True
        return low

    def _not(self, index: int, token: Token) -> bool:
        tokens, behind = self.tokens, self._behind(index)
        before_verb = index < self.end_of_subject
        if token.text == "anything but" and (self.negated or self.deny < 0):
            self.negated, self.deny = False, 1  # "there isn't anything but AU12"
            return True
        if frames.is_degree(tokens, index) or self._not_doing(index, behind):
            return True
        if index and tokens[index - 1].text == "," and behind is not None and behind.text in words.PREPOSITION:
            self.deny, self.denied_at = -1, index  # "shows in the nose, not in the eyes"
            return True
        if token.text == "barely" and index and tokens[index - 1].text in ("just", "but"):
            return True
        if behind is not None and behind.text == "so" and index + 2 < self.count and tokens[index + 2].text == "much":
            self.so_much = True
            self.deny, self.denied_at = -1, index
        elif before_verb and self.verb >= 0 and index + 1 == self.verb and self.subjects:
            self.negated = True
        elif self.verb < 0 and self.subjects and index + 2 == self.count and self._participle(behind):
            self.negated = self.stated = True  # "AU4 not lowered"
        elif (
            (before_verb and self.verb >= 0)
            or ((self.objects or self.stated) and not (behind and behind.kind == "present" and not self.objects))
            or (self.verb < 0 and self.subjects and not (behind and behind.kind in _STATES) and behind)
        ):
            self.deny, self.denied_at = -1, index
            self.comma_deny = index > 0 and tokens[index - 1].text == ","
        elif self.verb < 0 and not self.subjects:
            if behind and behind.kind in ("absent", "rest"):
                self.negated = True
            else:
                self.deny, self.denied_at = -1, index
        else:
            self.negated = True
        if behind is not None and (behind.text in words.COMPANY | words.CAUSED or self._to_do_with(index)):
            self.company = True
        return True

    def _denying_verb(self, index: int, token: Token) -> bool:
        before_verb = index < self.end_of_subject
        self.verbs = -self.verbs
        if token.text.startswith(("fail", "refuse")):
            self.stated = self.stated or token.text.startswith("fail")
            self.predicate, self.verbs = -self.predicate, -self.verbs
            if self.verb < 0 or before_verb:
                self.verbs = -1
        behind = self._behind(index)
        if token.text == "left out" and self.subjects and not self.objects and (behind is None or behind.kind == "p"):
            self.predicate, self.verbs, self.stated = -self.predicate, -self.verbs, True  # "AU10 is left out"
            return True
        if behind is not None and behind.text in _OBJECT_PRONOUNS and not before_verb:
            self._deny_them()
            self.verbs = 1 if behind.text in ("both", "either") else self.verbs
        return True

    def _deny_them(self) -> None:
        for said in self.objects or self.subjects or self.state.recent:
            said.sign = -1
        if not self.objects and self.subjects and self.verb < 0:  # "considered AU4 and AU9 and rejected both"
            for said in self.state.recent:
                said.sign = -1

    def _absent(self, index: int, token: Token) -> bool:
        tokens, behind = self.tokens, self._behind(index)
        before_verb = index < self.end_of_subject
        if token.text == "negative" and behind is not None and (behind.kind == "word" or self.deny < 0):
            return behind.kind in ("g", "word")  # "a sign of negative affect", "no negative AUs"
        if self.predicate > 0 and not self.negated and self._other_side(index):
            return True  # "present on the left and absent on the right"
        if behind is not None and index > 1 and behind.text == "one" and tokens[index - 2].kind == "m":
            for said in adjacent(tokens, self.objects or self.subjects):
                said.sign = -1  # "AU5 is the strongest here, AU26 the missing one"
            return True
        if (
            behind is not None
            and self.subjects
            and index
            and behind.text in _ONES
            and tokens[index - 1].kind != "copula"
        ):
            self.deny, self.denied_at = -1, index  # "three active AUs (...) and three inactive ones (...)"
            return True
        left = index > 1 and tokens[index - 1].text in _THEM and tokens[index - 2].text in words.LEAVING
        left = left and not any(item.kind == "m" for item in tokens[index:])
        if left or token.text.startswith(("leav", "left")) or (behind is not None and behind.text in _THEM):
            self._deny_them()
        elif (
            behind is not None
            and behind.kind == "m"
            and self.subjects
            and index
            and tokens[index - 1].text in (",", "and")
        ):
            self.deny, self.denied_at = -1, index  # "fear, less likely surprise"
        elif before_verb and self.verb >= 0 and not self.subjects:
            self.attribute = -self.attribute
        elif self.verb < 0 and not self.subjects:
            self.attribute = -self.attribute * (-1 if self.negated else 1)
        elif self.objects and not before_verb and self.tokens[index - 1] is self.objects[-1].token:
            for said in adjacent(tokens, self.objects):
                said.sign = -1  # "I leave AU7 uncoded"
        elif self.objects and not before_verb and index != self.count - 1:
            self.deny, self.denied_at = -1, index
        elif self.verb < 0 and not frames.predicative(tokens, index):
            pass
        else:
            self.predicate = -self.predicate
            self.stated = True
        return True

    def _rest(self, index: int, token: Token) -> bool:
        before_verb = index < self.end_of_subject
        behind = self._behind(index)
        if behind is not None and behind.text in words.PARTS:
            return True  # "make for tight, flat lips"
        if (
            token.text == "level"
            and index
            and (
                self.tokens[index - 1].text in _GRADES
                or len(self.tokens[index - 1].text) == 1
                or self._behind(index) is not None
            )
        ):
            return True  # "at B level", "level C"
        of_subject = self.subjects and (self.verb < 0 or not before_verb) and not self.objects
        if of_subject and frames.predicative(self.tokens, index):
            self.predicate, self.stated = -self.predicate, True
        return True

    def _present(self, index: int, token: Token) -> bool:
        behind = self._behind(index)
        if (
            token.text in ("likely", "probable")
            and index
            and index <= self.verb
            and self.tokens[index - 1].text in _HOW
        ):
            return True  # "AU10 most likely doesn't"
        if token.text == "found" and behind is not None and behind.text in ("both", "it", "them") and not self.negated:
            for said in self.objects or self.state.recent:
                said.sign = said.sign or 1  # "I looked for AU1 and found it"
        if self.predicate < 0 and not self.negated and self._other_side(index):
            self.predicate = 1  # "absent on the left and present on the right"
        elif index and self.tokens[index - 1].text == "neither" and index > self.verb >= 0 and not self.objects:
            self.negated = True  # "is neither present nor ..."
        self.stated = True
        return True

    def _except(self, index: int, token: Token) -> bool:
        if not self.nothing and token.text == "apart from":
            return True
        self.exception = token.text
        self.deny = 1
        return True

    def _unreal(self, index: int, token: Token) -> bool:
        if index:
            self.nothing = 0
            return True
        return False

    def _reset(self, index: int, token: Token) -> bool:
        if token.kind == "contrast" and token.text != "but":
            return False
        whole = token.text == "but" and index > 1 and self.tokens[index - 1].text in _WHOLES and "all" in self.spoken
        if whole and self.tokens[index - 2].text != "at":
            return self._except(index, token)
        if self.partitive:
            self.nothing, self.partitive = 1, False
        if token.text not in ("just", "only", "simply") or not (index and self.tokens[index - 1].kind == "not"):
            self.deny, self.negated, self.verbs, self.exception = 1, False, 1, ""
            if not self.stated:
                self.predicate = 1
        return True

    def _punctuation(self, index: int, token: Token) -> bool:
        if token.text != ",":
            return False
        following = self._behind(index)
        listed = following and (following.kind == "m" or following.text in ("and", "or"))
        said_of = listed and index + 2 < self.count and self.tokens[index + 2].kind in ("copula", "modal", "verb")
        if self.partitive and (not listed or said_of):  # "between surprise and fear, fear is more likely"
            self.nothing, self.partitive = 1, False
        tokens, behind = self.tokens, self._behind(index)
        if behind is not None:
            if self.comma_deny and frames.ends_denial(tokens, index):
                self.deny, self.comma_deny = 1, False
            elif self.deny < 0 and self._is_whole(index, behind):
                self.deny = 1
        self.exception = self.exception if behind is not None and behind.kind == "m" else ""
        return True

    def _word(self, index: int, token: Token) -> None:
        text = token.text
        if text not in _SPEAKING and token.kind != "pronoun" and index != self.verb:
            return
        if self.partitive and (token.kind == "pronoun" or text in ("only", "two", "three")):
            self.nothing, self.partitive = 1, False
        before = self.tokens[index - 1].text if index else ""
        if (text == "for" and self._sought(index)) or (text in ("about", "between") and before in words.DOUBTING):
            self.nothing = 0  # "I looked for AU4"
        elif text == "from" and index and self.tokens[index - 1].kind == "absent" and self.subjects:
            self.released = True  # "AU2 is missing from this face (AU1, AU5)"
        elif token.kind == "pronoun" and before == ",":
            self.nothing = 1
        if text in ("tell", "distinguish") and any(item.text in _APART for item in self.tokens[index + 2 :]):
            self.nothing = 0  # "not easy to tell AU1 apart from AU2"
        if text == "than" and self._more_of(index):
            self.deny, self.denied_at = -1, index  # "more a stretch (AU20) than a smile (AU12)"
        if text == "and" and self.deny < 0 and self.tokens[self.denied_at].text in words.LACK and self._owned(index):
            self.deny = 1  # "the absence of a smile and the sad eyes"
        if text in words.WRONG and any(item.text == "to" for item in self.tokens[index + 1 : index + 3]):
            self.deny, self.negated = (1, False) if self.negated else (-1, False)
            self.denied_at = index
        if text == "for" and any(item.text == "too" for item in self.tokens[max(0, index - 4) : index]):
            self.deny, self.denied_at = -1, index  # "too close together for a jaw drop"
        elif text in words.TENTATIVE and index and self.tokens[index - 1].kind == "copula":
            self.tentative = True
        elif text in words.SUSPECTING and index and before in ("i", "we"):
            self.nothing = 0  # "I suspected AU9, but ..."
        elif text == "rests" and index == self.count - 1 and self.subjects:
            self.predicate, self.stated = -self.predicate, True  # "AU6 rests"
        elif text in ("out", "off") and index == self.count - 1 and index and self._behind_copula(index):
            self.predicate, self.stated = -self.predicate, True  # "AU12 is out"
        elif (
            text in words.CODING | words.PERCEIVING
            and self.negated
            and (behind := self._behind(index))
            and behind.text in ("it", "them")
        ):
            for said in self.state.subject or self.state.recent:
                said.sign = -1
        elif (
            text in words.CODING and (behind := self._behind(index)) and behind.text in ("it", "them") and self.deny > 0
        ):
            for said in self.state.subject or self.state.recent:
                said.sign = said.sign or 1  # "AU10 can be debated, but I'd include it"
        elif text == "off" and index and self.tokens[index - 1].kind == "m" and "take" in self.spoken:
            for said in adjacent(self.tokens, self.objects or self.subjects):
                said.sign = -1  # "take AU26 off the list"
        elif text in ("code", "codes") and index and self.tokens[index - 1].text in ("no", "any", "a"):
            self._generic(index, token)
        elif text in words.COMPANY and self.negated:
            self.company = True
        elif text == "than" and self.less:
            self.deny, self.less = 1, False
        elif text == "as" and self.so_much:
            self.deny, self.so_much, self.negated = 1, False, False
        elif text in words.ACTIVITY and (self.deny < 0 or self._lacks(index)):
            self.idle = True
            if self.verb < 0 and self.subjects and self.tokens[self.denied_at - 1].text in ("with", "at"):
                self.stated = True  # "AU4 with zero intensity"
        elif index == self.verb and self.exception:
            self.exception = ""


_READERS: dict[str, Callable[[ClauseReader, int, Token], bool]] = {
    "m": ClauseReader._mention,
    "g": ClauseReader._generic,
    "deny": ClauseReader._deny,
    "number": ClauseReader._number,
    "not": ClauseReader._not,
    "dverb": ClauseReader._denying_verb,
    "absent": ClauseReader._absent,
    "rest": ClauseReader._rest,
    "present": ClauseReader._present,
    "except": ClauseReader._except,
    "unreal": ClauseReader._unreal,
    "reset": ClauseReader._reset,
    "contrast": ClauseReader._reset,
    "p": ClauseReader._punctuation,
}
