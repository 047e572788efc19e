"""Sentences and clauses: where one claim ends and the next one begins.

A comma or an "and" ends a clause only where the clause before is whole and a new subject with its verb, or a new verb,
follows; brackets hold clauses of their own, unless they only name what stands before them.
"""

# ruff: noqa: SIM905  (patterns and word lists read better on one line)
from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from faba_bench.strict import words
from faba_bench.strict.tokens import Token

_ABBREVIATED = frozenset("e g i eg ie vs approx dr mr mrs ms fig no cf ca resp incl esp etc al".split())
_STATES = frozenset(("absent", "present", "rest"))
_NEVER_FINITE = frozenset(
    ("m", "g", "p", "deny", "absent", "present", "rest", "number", "pronoun", "contrast", "relative")
)
_FINITE = frozenset(("copula", "modal", "verb"))
_WINDOW = 14
_NEVER_NOUNS = frozenset("convey suggest indicate express reveal exhibit imply demonstrate depict portray".split())
_SUBORDINATE = frozenset("as since because if when although though while whereas given unless".split())
_IN_SPITE_OF = frozenset(("despite", "in spite of"))
_THE_REST = frozenset("others other rest remaining else".split())
#: Kinds and words at which a clause may end; all others go on with it.
_DIVIDING = frozenset(("p", "contrast", "relative", "unreal", "verb"))
_JOINTS = frozenset(("that", "why", "and", "or", "so", "as"))
_PLURAL = frozenset("are were have do".split())
_DEEPEST = 3
_LONGEST_SENTENCE = 300
_FUSED = frozenset(
    "cannot cant dont doesnt didnt isnt arent wasnt werent wont wouldnt couldnt hasnt havent aint".split()
)


@dataclass
class Clause:
    """Tokens of one claim; `opened` is what it opened with: a conjunction, punctuation, "(" or nothing."""

    tokens: list[Token]
    opened: str = ""
    inner: bool = False
    brackets: list[Clause] = field(default_factory=list)

    @property
    def has_mark(self) -> bool:
        """Whether it names anything that is looked for."""
        return any(token.kind == "m" for token in self.tokens)


def sentences(tokens: Sequence[Token], text: str) -> Iterator[tuple[list[Token], str]]:
    """Sentences of one line, each with the punctuation that ended it."""
    current: list[Token] = []
    last = len(tokens) - 1
    for index, token in enumerate(tokens):
        if token.kind == "p" and token.text in ".!?" and _ends(tokens, index, last, text):
            if current:
                yield current, token.text
            current = []
        else:
            current.append(token)
            if len(current) >= _LONGEST_SENTENCE:  # no sentence; what bounds the work for one bounds it for a text
                yield current, ""
                current = []
    if current:
        yield current, ""


def _ends(tokens: Sequence[Token], index: int, last: int, text: str) -> bool:
    token = tokens[index]
    behind = text[token.end : token.end + 1]
    if behind and not behind.isspace() and behind not in "\"')]":
        return False
    if token.text != "." or index == 0:
        return True
    before = tokens[index - 1]
    if before.end != token.start:
        return True
    if before.text in _ABBREVIATED and index < last and not text[tokens[index + 1].start].isupper():
        return False
    if before.text in ("g", "e", "i", "vs", "dr", "mr", "mrs", "ms", "etc", "cf") and index < last:
        return before.text == "etc" and text[tokens[index + 1].start].isupper()
    # "2. AU4": the number counts a list, and what came before has ended.
    return True


def clauses(tokens: Sequence[Token], text: str, depth: int = 0) -> list[Clause]:
    """The clauses of one sentence in order; those in brackets follow the clause that they stand in."""
    found: list[Clause] = []
    current = Clause([])
    index = 0
    count = len(tokens)
    cut = _end_of_what(tokens) if depth == 0 else -1
    while index < count:
        token = tokens[index]
        if token.kind not in _DIVIDING and token.text not in _JOINTS and index != cut:
            current.tokens.append(token)
            index += 1
            continue
        if token.kind == "p":
            if token.text in "([" and depth < _DEEPEST:
                close = _closing(tokens, index)
                inside = list(tokens[index + 1 : close])
                if _names_only(inside):
                    current.tokens += inside
                else:
                    inner = clauses(inside, text, depth + 1)
                    if inner:
                        inner[0].opened = "("
                    for clause in inner:
                        clause.inner = True
                    marker = Token("bracket", "(", token.start, token.end, len(current.brackets))
                    current.tokens.append(marker)
                    current.brackets += inner
                index = close + 1
                continue
            if token.text in ";:—–" or token.text == "..." or (token.text in "-~|" and _spaced(text, token)):
                current = _next(found, current, token.text)
                index += 1
                continue
            arrow = token.text in "-=" and index + 1 < count and tokens[index + 1].text == ">"
            if current.has_mark and (token.text in "→⇒" or (arrow and tokens[index + 1].start == token.end)):
                current = _next(found, current, "so")
                index += 2 if arrow else 1
                continue
            if token.text == ",":
                if not current.tokens:
                    index += 1
                    continue
                if _splits(tokens, index, current):
                    current = _next(found, current, ",")
                else:
                    current.tokens.append(token)
                index += 1
                continue
            index += 1
            continue
        if index == cut:
            current = _next(found, current, "what-is")
            current.tokens.append(token)
        elif (
            token.kind == "contrast"
            and token.text in _ADVERBIAL
            and index
            and tokens[index - 1].kind in ("copula", "modal")
        ):
            pass  # "AU2 is therefore not assessable"
        elif token.kind == "contrast" and not _nominal_contrast(tokens, index):
            current = _next(found, current, token.text)
        elif token.kind == "relative" or (token.text == "that" and _relative_that(tokens, index)):
            current = _next(found, current, "which")
        elif token.text == "that" and index and tokens[index - 1].kind in ("verb", "base", "absent", "present", "word"):
            current = _next(found, current, "that")
        elif token.text in ("and", "or") and token.text == "and" and _splits(tokens, index, current):
            current = _next(found, current, "and")
        elif token.text == "why" and index and tokens[index - 1].kind == "copula":
            current.tokens.append(token)
            current = _next(found, current, "so")  # "which is why AU24 is excluded"
        elif token.text == "so" and index + 1 < count and (not current.tokens or tokens[index - 1].text == ","):
            current = _next(found, current, "so")
        elif token.text == "as" and index + 1 < count and _clause_as(tokens, index, current):
            current = _next(found, current, "as")
        elif token.kind == "unreal" and token.text not in _NOMINAL_UNREAL and current.tokens:
            current = _next(found, current, token.text)
            current.tokens.append(token)
        elif token.kind == "verb" and _embeds(tokens, index):
            current.tokens.append(token)
            current = _next(found, current, "that")
        else:
            current.tokens.append(token)
        index += 1
    _next(found, current, "")
    return found


_AND = frozenset(("and", "or"))
_ATTRIBUTIVE = frozenset("other any a an the some no".split())  # "or any other strong feeling"
_TIMES = frozenset("frame picture image photo clip shot moment second minute day one".split())
_ADVERBIAL = frozenset("therefore thus hence however nevertheless nonetheless though yet".split())


def _end_of_what(tokens: Sequence[Token]) -> int:
    """Where "What looks like fear" ends and "is in fact surprise" begins; -1 in any other sentence."""
    start = next((i for i, token in enumerate(tokens[:4]) if token.text == "what"), -1)
    if start < 0:
        return -1
    verbs = [index for index in range(start + 1, len(tokens)) if finite(tokens, index)]
    for first, second in itertools.pairwise(verbs):
        if any(token.kind == "m" for token in tokens[first:second]):
            return second if any(token.kind == "m" for token in tokens[second:]) else -1
    return -1


_NOMINAL_UNREAL = frozenset(
    ("confused with", "mistaken for", "mistaken as", "misread as", "misread for", "misinterpreted as", "mistook for",
     "taken for", "not to be confused with", "might be confused with", "mimic", "mimics", "resemble", "resembles",
     "reminiscent of")
)  # fmt: skip
_THINKING = frozenset("think believe say know see conclude suggests indicates implies means shows find doubt".split())


def _next(found: list[Clause], current: Clause, opened: str) -> Clause:
    while current.tokens and current.tokens[-1].text in (",", "and") and current.tokens[-1].kind != "m":
        current.tokens.pop()
    if current.tokens:
        found.append(current)
        found += current.brackets
        return Clause([], opened)
    # Nothing between two conjunctions: the later one counts, but a relation that was opened stays open.
    return Clause([], current.opened if opened == "," and current.opened else opened)


def _closing(tokens: Sequence[Token], start: int) -> int:
    depth = 0
    for index in range(start, min(len(tokens), start + 200)):
        token = tokens[index]
        if token.kind == "p":
            if token.text in "([":
                depth += 1
            elif token.text in ")]":
                depth -= 1
                if not depth:
                    return index
    return len(tokens)


def _names_only(inside: Sequence[Token]) -> bool:
    """Whether a bracket holds mentions and little words only: then it names what stands before it."""
    return all(
        token.kind == "m"
        or token.text in ("and", "or", ",", "+", "/", "&", "i", "e", "g", ".", "-", "the", "namely", "both")
        or (token.kind in ("word", "number") and not any(t.kind == "m" for t in inside))
        for token in inside
    )


def _spaced(text: str, token: Token) -> bool:
    before, behind = text[token.start - 1 : token.start], text[token.end : token.end + 1]
    return (not before or before.isspace()) and (not behind or behind.isspace())


def _nominal_contrast(tokens: Sequence[Token], index: int) -> bool:
    token = tokens[index]
    if token.text == "because" and index > 1 and tokens[index - 1].kind == "not" and tokens[index - 2].text == ",":
        return True  # "because of AU10, not because of AU12"
    if token.text in ("because", "despite", "in spite of", "as for", "so that"):
        return False
    if token.text == "but" and index and tokens[index - 1].text in ("nothing", "anything", "none", "everything", "all"):
        return True
    if token.text in ("before", "after") and index and tokens[index - 1].text in _TIMES:
        return True
    if token.text in ("before", "after", "when", "until"):
        return not _clause_ahead(tokens, index)
    return False


def _relative_that(tokens: Sequence[Token], index: int) -> bool:
    if not index or index + 1 >= len(tokens):
        return False
    before, behind = tokens[index - 1], tokens[index + 1]
    return before.kind == "m" and behind.kind in _FINITE


def _clause_as(tokens: Sequence[Token], index: int, current: Clause) -> bool:
    """ "as the brows are raised", not "as well as" or "as visible as"."""
    behind = tokens[index + 1]
    if index and tokens[index - 1].text == "," and behind.text not in ("well", "if", "though", "opposed", "such"):
        return True
    if behind.text in ("well", "if", "in", "a", "an", "such", "though", "opposed") or behind.kind in (
        "present",
        "absent",
    ):
        return False
    if behind.kind in ("copula", "modal"):
        return True
    return is_complete(current.tokens) and _clause_ahead(tokens, index)


def _embeds(tokens: Sequence[Token], index: int) -> bool:
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


def _splits(tokens: Sequence[Token], index: int, current: Clause) -> bool:
    """Whether the comma or "and" at `index` ends the current clause."""
    ahead = index + 1
    while ahead < len(tokens) and tokens[ahead].text in ("and", ",", "then", "also", "or"):
        ahead += 1
    if ahead >= len(tokens) or not current.tokens:
        return False
    comma = tokens[index].text == ","
    behind = tokens[ahead]
    leads = current.tokens[0].text.split(" ")[0] in words.FRONTED
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
    if comma and behind.text in words.PARTICIPLE and current.tokens:
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
    if not (whole or fronted):
        # "AU4 was, the picture ..." does not occur; "Mouth closed, AU25 absent" does.
        return False
    if behind.kind in ("copula", "modal", "verb") and behind.text not in ("'s",):
        return not fronted
    return _clause_ahead(tokens, ahead - 1)


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


def is_complete(tokens: Sequence[Token]) -> bool:
    """Whether the tokens hold a finite verb, or a mention with a state behind it."""
    marked = False
    for index, token in enumerate(tokens):
        if finite(tokens, index):
            return True
        if token.kind in ("m", "g"):
            marked = True
        elif marked and token.kind in _STATES:
            return True
    return False


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
        if marked and token.kind in _STATES and tokens[ahead - 1].text not in _ATTRIBUTIVE | _AND:
            return True
        if token.kind in ("m", "g"):
            subject = marked = True
        elif token.text not in ("and", "or"):
            subject = True
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
        return (
            index > 0
            and not word.endswith("ing")
            and (before.kind in ("m", "g", "pronoun") or before.text.endswith("s"))
        )
    if token.kind in _FINITE:
        if token.text == "been" or token.text == "being" or token.text == "be":
            return False
        return not (
            token.kind == "verb"
            and index
            and tokens[index - 1].text
            in ("to", "the", "a", "an", "of", "her", "his", "no", "any", "every", "each", "this")
        )
    if token.kind == "reset":
        return token.text in ("remains", "leaves") and index > 0 and tokens[index - 1].kind == "m"
    if token.kind != "base" or not index:
        return False
    if token.text in _NEVER_NOUNS and tokens[index - 1].text != "to":
        return True
    before = tokens[index - 1]
    if before.kind in ("m", "g", "pronoun") and before.text not in ("that", "this", "there", "no"):
        return index + 1 < len(tokens)
    return before.kind == "word" and before.text.endswith("s") and not before.text.endswith("ss") and index > 0


def _third_person(tokens: Sequence[Token], index: int) -> bool:
    """ "One often finds ...", "he shrugs": a word in -s behind a pronoun that can be its subject."""
    word = tokens[index].text
    if not index or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return False
    before = index - 1
    while before and tokens[before].text in _ADVERBS:
        before -= 1
    return tokens[before].text in _SINGULAR or tokens[before].kind == "relative"


_ADVERBS = frozenset(
    "often usually always never also clearly only just even still really merely sometimes typically".split()
)
_SINGULAR = frozenset("he she it one who else nothing nobody everything something".split())
