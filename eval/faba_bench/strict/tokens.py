"""Cutting a text into tokens of a few kinds, for the grammar.

Kinds: ``m`` a mention (its payload is what the reader looks for), ``g`` "action units" and the like without a number,
``deny``, ``not``, ``dverb``, ``absent``, ``present``, ``rest``, ``unreal``, ``except``, ``contrast``, ``topic``, ``relative``, ``reset``,
``copula``, ``modal``, ``verb``, ``base``, ``pronoun``, ``word``, ``number`` and ``p`` (punctuation).
"""

# ruff: noqa: E501  (patterns and word lists read better on one line)
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from faba_bench.strict import words
from faba_bench.strict.folded import folded

_SINGLE: dict[str, str] = {}
_PHRASES: dict[str, str] = {}


def _fill() -> None:
    tables: list[tuple[str, Any]] = [
        ("base", words.BASE_VERB),
        ("verb", words.VERB),
        ("pronoun", words.PRONOUN),
        ("g", words.GENERIC),
        ("modal", words.MODAL),
        ("copula", words.COPULA),
        ("reset", words.RESET),
        ("relative", words.RELATIVE),
        ("present", words.PRESENT),
        ("rest", words.REST),
        ("dverb", words.DENYING_VERB),
        ("absent", words.ABSENT),
        ("contrast", words.CONTRAST),
        ("topic", words.TOPIC),
        ("except", words.EXCEPT),
        ("unreal", words.UNREAL),
        ("deny", words.DENY),
        ("not", words.NOT),
    ]
    for kind, table in tables:
        for entry in table:
            word = entry.strip()
            (_PHRASES if " " in word else _SINGLE)[word] = kind
    for phrase in ("action units", "action unit", "facial action units", "facial action", "facial actions"):
        _PHRASES[phrase] = "g"
    _SINGLE["n/a"] = "absent"
    for phrase in ("at level", "at intensity", "at intensity level", "at grade"):
        _PHRASES[phrase] = "word"


_fill()


def _by_first_word() -> dict[str, list[tuple[tuple[str, ...], str, str]]]:
    """First word -> phrases that begin with it, longest first: their words, text and kind."""
    groups: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}
    for phrase in sorted(_PHRASES, key=len, reverse=True):
        parts = tuple(phrase.split(" "))
        groups.setdefault(parts[0], []).append((parts, phrase, _PHRASES[phrase]))
    return groups


_STARTS = _by_first_word()
_TOKEN = re.compile(
    r"(?P<nt>n't\b)|(?P<ie>i\.\s?e\.(?=[\s,:]))|(?P<word>n/a\b|[^\W\d_]+?(?=n't\b)|[^\W\d_]+(?:-[^\W\d_]+)*)|(?P<p>[^\s\w'.])|(?P<dots>\.\.\.)|(?P<clitic>'(?:s|re|d|ll|ve|m)\b)|"
    r"(?P<number>\d+(?:\.\d+)?(?:\s?%)?)|(?P<p2>[^\s\w])"
)
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
_GLUED = re.compile(r"['-]\w")
_CLITICS = {"'d": "modal", "'ll": "modal", "'ve": "modal", "'s": "copula", "'re": "copula", "'m": "copula"}


class Token(NamedTuple):
    """One token: its kind, lower-case text, place, and what a mention stands for."""

    kind: str
    text: str
    start: int
    end: int
    payload: Any = None


_make = Token._make
_FOREIGN_DENIAL = re.compile(r"不|没|沒|無|无|未|并非|ではな|じゃな|ない|なし|아니|없|않")
_FOREIGN_TURN = re.compile(r"(?:而是|但|却|只是)")


def _foreign(word: str) -> str:
    """The kind of a run of Chinese, Japanese or Korean, which has no spaces between words."""
    if not _CJK.search(word):
        return "word"
    turn = _FOREIGN_TURN.search(word)
    if _FOREIGN_DENIAL.search(word, turn.start() if turn else 0):
        return "deny"
    return "reset" if turn else "word"


def tokenise(text: str, marks: Sequence[tuple[int, int, Any]], start: int = 0, end: int | None = None) -> list[Token]:
    """Tokens of ``text[start:end]``; `marks` are (start, end, payload) in order, each one token of kind ``m``."""
    end = len(text) if end is None else end
    text = folded(text)
    found: list[Token] = []
    position = start
    for begin, until, payload in marks:
        if begin < position:
            continue
        _plain(text, position, begin, found)
        found.append(Token("m", text[begin:until], begin, until, payload))
        position = until
    _plain(text, position, end, found)
    return found


def _plain(text: str, start: int, end: int, found: list[Token]) -> None:
    matches = list(_TOKEN.finditer(text, start, end))
    count = len(matches)
    index = 0
    while index < count:
        match = matches[index]
        group = match.lastgroup
        raw = match.group()
        first, last = match.span()
        index += 1
        if group == "word":
            if raw in _STARTS and (phrase := _phrase_at(text, matches, index - 1)):
                raw, kind, taken = phrase
                index += taken - 1
                last = matches[index - 1].end()
            else:
                kind = _SINGLE.get(raw) or ("word" if raw.isascii() else _foreign(raw))
        elif group == "ie":
            raw, kind = "i.e.", "contrast"
        elif group == "nt":
            kind = "not"
        elif group == "clitic":
            kind = _CLITICS.get(raw, "word")
        elif group == "number":
            kind = "number"
        else:
            kind = "p"
        found.append(_make((kind, raw, first, last, None)))


def _phrase_at(text: str, matches: Sequence[re.Match[str]], index: int) -> tuple[str, str, int] | None:
    """The phrase that begins with a word: its text, its kind and how many words it takes."""
    for parts, phrase, kind in _STARTS[matches[index].group()]:
        size = len(parts)
        if index + size > len(matches):
            continue
        end = matches[index].end()
        for part, match in zip(parts[1:], matches[index + 1 : index + size], strict=True):
            if match.group() != part or text[end : match.start()].strip(" \t") or end == match.start():
                break
            end = match.end()
        else:
            if not _GLUED.match(text, end):
                return phrase, kind, size
    return None
