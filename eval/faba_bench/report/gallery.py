"""Samples as cards: a picture with landmarks, and named texts beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from faba_bench.report.html import escape

_LONGEST_TEXT = 3000


@dataclass(frozen=True)
class Card:
    """`picture` is markup or None, `missing` says why there is none; `facts` stand beside, `texts` below."""

    title: str
    picture: str | None
    missing: str = "no image"
    facts: Sequence[tuple[str, str]] = field(default_factory=tuple)
    texts: Sequence[tuple[str, str]] = field(default_factory=tuple)


def gallery(cards: Sequence[Card]) -> str:
    """Markup of the cards, as many beside each other as the screen holds."""
    return '<div class="cards">' + "".join(_card(card) for card in cards) + "</div>"


def _card(card: Card) -> str:
    shown = card.picture or f'<div class="none">{escape(card.missing)}</div>'
    return (
        f'<article class="card"><h3>{escape(card.title)}</h3><div class="pic">{shown}</div>'
        f"{_list(card.facts, '')}{_list(card.texts, ' class=long') if card.texts else ''}</article>"
    )


def _list(items: Sequence[tuple[str, str]], attribute: str) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(_cut(text))}</dd>" for name, text in items)
    return f"<dl{attribute}>{rows}</dl>"


def _cut(text: str) -> str:
    if not text:
        return "(empty)"
    if len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[:_LONGEST_TEXT]} ... ({len(text)} characters in all)"
