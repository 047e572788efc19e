"""Turns of phrase that a clause's reader asks about: what stands around a word, and what that makes of it."""

# ruff: noqa: SIM905  (word lists read better as text)
from __future__ import annotations

import itertools

from faba_bench.strict import words
from faba_bench.strict.claim import Claim
from faba_bench.strict.said import adjacent
from faba_bench.strict.tokens import Token

_THERE = frozenset("there here whatsoever either anywhere visible present".split())
_AT_LEVEL = frozenset(("at", "at level", "at intensity", "at intensity level", "at grade", "level", "intensity"))
_OF_WHICH = frozenset("of them these those which is are very particularly".split())
_HAVING = frozenset("has have had shows show gets get displays exhibits".split())
_LEVELS = frozenset(("level", "intensity", "grade"))


class Turns(Claim):
    """One clause, with what its words amount to."""

    def _granted(self, index: int) -> bool:
        """What a supposition takes for given: "one expects X alongside AU4", "were it not for AU4"."""
        if index and self.tokens[index - 1].text == "alongside":
            return True
        return any(
            token.text == "for" and (before.kind == "not" or before.text == "been")
            for before, token in itertools.pairwise(self.tokens[: min(index, 6)])
        )

    def _has_level(self, index: int) -> bool:
        """ "AU4 at level C": what has an intensity is there."""
        ahead = [token.text for token in self.tokens[index + 1 : index + 5]]
        if not ahead or ahead[0] not in _AT_LEVEL:
            return False
        ahead = ahead[1:]
        while ahead and ahead[0] in _LEVELS:
            ahead = ahead[1:]
        return bool(ahead) and ahead[0] in ("a", "b", "c", "d", "e")

    def _not_doing(self, index: int, behind: Token | None) -> bool:
        """ "with AU23 and AU24 not contributing"."""
        before = self.tokens[index - 1] if index else None
        if not before or before.kind != "m" or not behind or not behind.text.endswith("ing"):
            return False
        said = adjacent(self.tokens[:index], [*self.subjects, *self.objects])
        start = next((i for i, token in enumerate(self.tokens) if said and token is said[0].token), 0)
        opening = self.tokens[start - 1].text if start else self.clause.opened
        if opening != "with" and not (opening == "," and behind.text == "being"):
            return False
        for item in said:
            item.sign = -abs(item.sign)
        return True

    def _other_side(self, index: int) -> bool:
        """ "... on the left and <state> on the right": what one side of the face shows is there."""
        joined = index > 1 and self.tokens[index - 1].text in ("and", "but", ",") and self.stated
        return joined and any(token.text in ("left", "right", "side") for token in self.tokens[index + 1 : index + 5])

    def _is_whole(self, index: int, behind: Token) -> bool:
        """Whether what is denied ends at a comma: "no anger there, ...", "no AU12, and AU4 ..."."""
        inside = self.tokens[self.denied_at + 1 : index]
        marks = [token for token in inside if token.kind == "m"]
        if not marks and self.tokens[self.denied_at].text in ("nothing", "none") and behind.kind == "m":
            return bool(inside) and inside[0].text in words.PREPOSITION  # "nothing in the brows, AU6 in the eyes"
        if not marks:
            later = any(token.text in ("or", "nor") for token in self.tokens[index:])
            return bool(inside) and inside[-1].kind == "bracket" and not later
        if inside[-1].text in _THERE:
            return True
        following = self.tokens[index + 2 : index + 3]
        alone = len(marks) == 1 and not any(token.text in ("or", "nor", ",") for token in inside)
        return (
            alone
            and self.tokens[self.denied_at].text in ("no", "without", "not")
            and behind.text == "and"
            and bool(following)
            and following[0].kind == "m"
        )

    def _more_of(self, than: int) -> bool:
        """Whether "more a ...", "more like ..." stands before a "than", with what it compares."""
        for index in range(than - 2, max(-1, than - 12), -1):
            if self.tokens[index].text == "more":
                inside = self.tokens[index + 1 : than]
                if inside[0].text in words.LIKELY:
                    return True
                return inside[0].text in ("a", "an", "like", "of") and any(token.kind == "m" for token in inside)
        return False

    def _behind_copula(self, index: int) -> bool:
        before = index - (2 if self.tokens[index - 1].text in ("all", "both") else 1)
        return before >= 0 and self.tokens[before].kind == "copula"

    def _adverb_denies(self, verb: int) -> bool:
        """ "He never shows AU4", "in no way is AU15 involved"."""
        return verb > 0 and self.tokens[verb - 1].kind == "not" and not self.subjects and self.deny < 0

    def _lacks(self, index: int) -> bool:
        """ "AU1 and AU2 lack evidence"."""
        return self.verbs < 0 and index > 0 and self.tokens[index - 1].text in ("lack", "lacks", "lacked")

    def _goes_on(self, index: int) -> bool:
        """ "nothing, on the other hand, speaks for AU6": the subject of a verb behind what is inserted."""
        if self.tokens[index].text != "nothing":
            return False
        close = next((i for i in range(index + 2, min(self.count, index + 9)) if self.tokens[i].text == ","), 0)
        return bool(close) and self.verb == close + 1

    def _participle(self, token: Token | None) -> bool:
        return token is not None and token.kind == "word" and token.text.endswith("ed")

    def _to_do_with(self, index: int) -> bool:
        """ "AU20 hasn't got anything to do with AU12"."""
        ahead = [token.text for token in self.tokens[index + 1 : index + 7]]
        return any(pair == ("do", "with") for pair in itertools.pairwise(ahead))

    def _sought(self, index: int) -> bool:
        """ "I looked for AU5", "I looked at the lids for AU5"."""
        before = [token.text for token in self.tokens[max(0, index - 5) : index]]
        return any(word in words.SEEKING for word in before[-1:]) or (
            any(word in words.SEEKING for word in before) and "at" in before
        )

    def _on_none(self, index: int) -> bool:
        """ "Dimpler on one side, lip corner puller on none"."""
        return self.verb < 0 and bool(self.subjects) and self.tokens[index - 1].text in words.PREPOSITION

    def _has_none(self, index: int) -> bool:
        verb = self.tokens[self.verb].text if self.verb >= 0 else ""
        return bool(self.subjects) and not self.objects and index == self.verb + 1 and verb in _HAVING

    def _only_degree(self, index: int) -> bool:
        if self.tokens[index].text not in ("none", "none of"):
            return False
        behind = [token.text for token in self.tokens[index + 1 :] if token.text not in _OF_WHICH]
        return bool(behind) and all(word in words.DEGREE for word in behind)

    def _owned(self, index: int) -> bool:
        behind = self._behind(index)
        return behind is not None and behind.text in ("the", "his", "her", "their")
