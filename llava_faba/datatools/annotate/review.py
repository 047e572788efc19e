"""A page to accept or reject answers by hand: plain HTML files that work without a server.

The pages keep what was decided in the browser and hand it out as ``decisions.json``, a map from the
answer's key to "accept" or "reject", which ``data annotate --apply`` reads.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

from faba_bench.files.atomic import write_text
from faba_bench.files.jsonfiles import read_json

from llava_faba.datatools.annotate.images import thumbnail
from llava_faba.errors import UserError

PER_PAGE = 100


@dataclass(frozen=True)
class Card:
    """One answer on the page."""

    key: str
    image: str
    text: str
    label: str | None
    given: str | None
    reasons: tuple[str, ...]


@cache
def _asset(name: str) -> str:
    return (Path(__file__).parent / "page" / name).read_text(encoding="utf-8")


def write_pages(cards: Sequence[Card], folder: Path, image_folder: Path, run: str) -> list[Path]:
    """Write ``page-001.html`` and on; older pages of the folder go. ``run`` keeps decisions of runs apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("page-*.html"):
        old.unlink()
    total = -(-len(cards) // PER_PAGE)
    paths = []
    for number in range(1, total + 1):
        page = cards[(number - 1) * PER_PAGE : number * PER_PAGE]
        path = folder / f"page-{number:03d}.html"
        write_text(path, _page(page, number, total, image_folder, run))
        paths.append(path)
    return paths


def _page(cards: Sequence[Card], number: int, total: int, image_folder: Path, run: str) -> str:
    links = [f"<b>{n}</b>" if n == number else f'<a href="page-{n:03d}.html">{n}</a>' for n in range(1, total + 1)]
    return Template(_asset("page.html")).substitute(
        style=_asset("style.css"),
        script=_asset("script.js"),
        run=html.escape(run),
        links=" ".join(links),
        cards="\n".join(_card(card, image_folder) for card in cards),
    )


def _card(card: Card, image_folder: Path) -> str:
    picture = thumbnail(image_folder / card.image)
    shown = "<i>unreadable image</i>"
    if picture:
        source = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
        shown = f'<img alt="{html.escape(card.image)}" src="{source}">'
    labels = f"read: {card.label if card.label is not None else '-'}"
    if card.given is not None:
        labels += f"; given: {card.given}"
    return Template(_asset("card.html")).substitute(
        key=html.escape(card.key),
        default="reject" if card.reasons else "accept",
        picture=shown,
        image=html.escape(card.image),
        labels=html.escape(labels),
        reasons="".join(f'<div class="why">{html.escape(reason)}</div>' for reason in card.reasons),
        text=html.escape(card.text),
    )


def load_decisions(paths: Sequence[Path]) -> dict[str, str]:
    """Decisions by key; a later file overrules. Raises ``UserError`` when one is not what a page saves.

    Several files, because some browsers give each page a memory of its own.
    """
    merged: dict[str, str] = {}
    for path in paths:
        try:
            decisions = read_json(path, error=ValueError)
        except ValueError as error:
            raise UserError(f"cannot read the decisions in {path}: {error}") from error
        if not isinstance(decisions, dict) or not set(map(str, decisions.values())) <= {"accept", "reject"}:
            raise UserError(f"{path} is no decisions.json of a review page: keys with 'accept' or 'reject'")
        merged.update(decisions)
    return merged
