"""Sentences and clauses: where one claim ends and the next one begins.

A comma or an "and" ends a clause only where the clause before is whole and a new subject with its verb, or a new verb,
follows; brackets hold clauses of their own, unless they only name what stands before them.
"""

# ruff: noqa: SIM905  (patterns and word lists read better on one line)
from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from faba_bench.strict.joints import clause_as, embeds, nominal_contrast, relative_that, splits
from faba_bench.strict.tokens import Token
from faba_bench.strict.verbs import STATES, finite, is_complete

_ABBREVIATED = frozenset("e g i eg ie vs approx dr mr mrs ms fig no cf ca resp incl esp etc al".split())
#: Kinds and words at which a clause may end; all others go on with it.
_DIVIDING = frozenset(("p", "contrast", "topic", "relative", "unreal", "verb"))
_JOINTS = frozenset(("that", "why", "and", "or", "so", "as"))
_DEEPEST = 3
_LONGEST_SENTENCE = 300


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
            if current.tokens and (close := _closing_dash(tokens, index, text)) > 0:
                current.tokens += tokens[index + 1 : close]  # "other units - AU12, AU15 - show ..."
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
                if splits(tokens, index, current):
                    current = _next(found, current, ",")
                else:
                    current.tokens.append(token)
                index += 1
                continue
            index += 1
            continue
        if token.kind == "topic":
            end = _end_of_topic(tokens, index)
            if end > 0 and (not current.tokens or token.text == "as for" or tokens[index - 1].text in (",", "and")):
                current = _next(found, current, "topic")
                current.tokens += tokens[index + 1 : end]
                current = _next(found, current, ",")
                index = end + 1
                continue
            current.tokens.append(token)
        elif index == cut:
            current = _next(found, current, "what-is")
            current.tokens.append(token)
        elif token.kind == "contrast" and token.text in _ADVERBIAL and _inserted(tokens, index, current):
            pass  # "AU2 is therefore not assessable", "the cheeks, however, are not raised"
        elif token.kind == "contrast" and not nominal_contrast(tokens, index):
            current = _next(found, current, token.text)
        elif token.kind == "relative" or (token.text == "that" and relative_that(tokens, index)):
            current = _next(found, current, "which")
        elif token.text == "that" and index and _opens_that(tokens, index):
            current = _next(found, current, "that")
        elif token.text in ("and", "or") and token.text == "and" and splits(tokens, index, current):
            current = _next(found, current, "and")
        elif token.text == "why" and index and tokens[index - 1].kind == "copula":
            current.tokens.append(token)
            current = _next(found, current, "so")  # "which is why AU24 is excluded"
        elif token.text == "why" and current.has_mark:
            current = _next(found, current, "why")  # "AU43 explains why AU5 cannot be coded"
        elif token.text == "so" and index + 1 < count and (not current.tokens or tokens[index - 1].text == ","):
            current = _next(found, current, "so")
        elif token.text == "as" and index + 1 < count and clause_as(tokens, index, current):
            current = _next(found, current, "as")
        elif token.kind == "unreal" and token.text not in _NOMINAL_UNREAL and current.tokens:
            current = _next(found, current, token.text)
            current.tokens.append(token)
        elif token.kind == "verb" and embeds(tokens, index):
            current.tokens.append(token)
            current = _next(found, current, "that")
        else:
            current.tokens.append(token)
        index += 1
    _next(found, current, "")
    return found


_ADVERBIAL = frozenset("therefore thus hence however nevertheless nonetheless though yet".split())


def _end_of_topic(tokens: Sequence[Token], start: int) -> int:
    """The comma behind "as for AU7 and AU9"; -1 where there is none."""
    for index in range(start + 2, min(len(tokens) - 1, start + _LONGEST_TOPIC)):
        if finite(tokens, index) or tokens[index].kind == "contrast":
            return -1
        behind = tokens[index + 1]
        listed = tokens[index + 2 : index + 3]
        if tokens[index].text == "," and (
            (behind.kind not in ("m", "g") and behind.text not in ("and", "or"))
            or (listed and listed[0].kind in _SAYING)
        ):
            return index
    return -1


_LONGEST_TOPIC = 24
_SAYING = frozenset(("copula", "modal", "verb", "base", "absent", "present"))


def _opens_that(tokens: Sequence[Token], index: int) -> bool:
    """Whether a "that" opens a clause: "I think that", not "... and that of AU7"."""
    before = tokens[index - 1].kind in ("verb", "base", "absent", "present", "word")
    return before and not (index + 1 < len(tokens) and tokens[index + 1].text == "of")


def _inserted(tokens: Sequence[Token], index: int, current: Clause) -> bool:
    """Whether an adverb stands inside a clause: behind its auxiliary, or between its subject and its verb."""
    if index and tokens[index - 1].kind in ("copula", "modal"):
        return True
    behind = tokens[index + 1].kind if index + 1 < len(tokens) else ""
    if index and tokens[index - 1].text == "and" and (behind in STATES or behind == "dverb"):
        return True  # "... and therefore absent"
    between = 0 < index < len(tokens) - 2 and tokens[index - 1].text == tokens[index + 1].text == ","
    return between and bool(current.tokens) and finite(tokens, index + 2) and not is_complete(current.tokens)


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
     "reminiscent of", "remind you of", "remind one of", "remind me of", "reminds one of", "reminds me of",
     "reminds you of")
)  # fmt: skip


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


def _closing_dash(tokens: Sequence[Token], start: int, text: str) -> int:
    """Where a dash closes what the dash at `start` opened, when only mentions stand between; else -1."""
    dash = tokens[start]
    if dash.text not in ("-", "–", "—") or (dash.text == "-" and not _spaced(text, dash)):
        return -1
    end = start + 1
    while end < len(tokens) and (tokens[end].kind == "m" or tokens[end].text in _ENUMERATING):
        end += 1
    closed = end < len(tokens) - 1 and tokens[end].text == dash.text and end > start + 1
    return end if closed and tokens[end + 1].kind != "m" else -1


_ENUMERATING = frozenset((",", "and", "or", "+", "/", "&"))


def _names_only(inside: Sequence[Token]) -> bool:
    """Whether a bracket holds mentions and little words only: then it names what stands before it."""
    return all(
        token.kind == "m"
        or token.text in ("and", "or", ",", "+", "/", "&", "i.e.", "i", "e", "g", ".", "-", "the", "namely", "both")
        or (token.kind in ("word", "number") and not any(t.kind == "m" for t in inside))
        for token in inside
    )


def _spaced(text: str, token: Token) -> bool:
    before, behind = text[token.start - 1 : token.start], text[token.end : token.end + 1]
    return (not before or before.isspace()) and (not behind or behind.isspace())
