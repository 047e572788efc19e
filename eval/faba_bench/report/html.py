"""Building blocks of a page.  Every function takes text and escapes it, except where it says "markup"."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as _escape
from typing import NamedTuple

from faba_bench.files.terminal import printable

_STYLE = """
:root { --ink:#1d2530; --soft:#5b6675; --line:#d9dee5; --back:#ffffff; --panel:#f5f7fa; --one:#2a6fbb;
  --two:#d9822b; --three:#3a9464; --four:#9158b8; --bad:#b3361f; --heat:42,111,187; }
@media (prefers-color-scheme: dark) { :root { --ink:#e4e8ee; --soft:#9aa6b5; --line:#38424f; --back:#14181e;
  --panel:#1d232b; --one:#6aa6e8; --two:#eba55c; --three:#6cc394; --four:#bd8fdd; --bad:#f08a75;
  --heat:106,166,232; } }
* { box-sizing:border-box; }
body { margin:0 auto; padding:1.5rem 1.25rem 4rem; max-width:64rem; color:var(--ink); background:var(--back);
  font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",
  sans-serif; }
h1 { font-size:1.7rem; line-height:1.2; margin:.2rem 0; } h2 { font-size:1.2rem; margin:2.4rem 0 .6rem; }
.sub,.note,figcaption,caption { color:var(--soft); font-size:.9rem; } .note { margin:.3rem 0 .8rem; }
.tiles { display:grid; grid-template-columns:repeat(var(--columns),minmax(0,1fr)); gap:.8rem; margin:1rem 0; }
.tile { background:var(--panel); border:1px solid var(--line); border-radius:.5rem; padding:.8rem 1rem; }
.tile b { display:block; font-size:1.75rem; line-height:1.25; font-variant-numeric:tabular-nums; }
.tile.key { border-color:var(--one); border-width:2px; }
.tile span { color:var(--soft); font-size:.85rem; display:block; }
.scroll { overflow-x:auto; } figure { margin:.8rem 0; } figure svg { display:block; width:100%; height:auto; }
.scroll > svg { min-width:34rem; } table { border-collapse:collapse; font-size:.9rem; min-width:50%; }
caption { text-align:left; padding-bottom:.3rem; }
th,td { padding:.3rem .7rem; border-bottom:1px solid var(--line); text-align:right; white-space:nowrap;
  font-variant-numeric:tabular-nums; } th:first-child,td:first-child { text-align:left; padding-left:0; }
thead th { color:var(--soft); font-weight:600; border-bottom-width:2px; }
ul.warn { border-left:4px solid var(--two); background:var(--panel); margin:.5rem 0;
  padding:.6rem 1rem .6rem 2rem; overflow-wrap:anywhere; font-size:.9rem; }
.cards { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(100%,28rem),1fr)); gap:1rem; }
.card { border:1px solid var(--line); border-radius:.5rem; padding:.9rem; display:grid; gap:.8rem;
  grid-template-columns:10.5rem minmax(0,1fr); align-content:start; }
.card h3 { grid-column:1/-1; margin:0; font-size:.98rem; overflow-wrap:anywhere; }
.card .pic svg,.card .pic img { width:100%; height:auto; border-radius:.3rem; display:block; }
.card .none { color:var(--soft); font-size:.8rem; border:1px dashed var(--line); border-radius:.3rem;
  padding:1rem .5rem; text-align:center; overflow-wrap:anywhere; }
.card dl { margin:0; font-size:.86rem; } .card dt { color:var(--soft); font-size:.75rem;
  text-transform:uppercase; letter-spacing:.03em; }
.card dd { margin:0 0 .5rem; white-space:pre-wrap; overflow-wrap:anywhere; }
.card .long { grid-column:1/-1; } details > summary { cursor:pointer; color:var(--one); }
@media (max-width:30rem) { .card { grid-template-columns:6.5rem minmax(0,1fr); }
  body { padding:1rem .8rem 3rem; } .tiles { gap:.4rem; } .tile { padding:.5rem .55rem; }
  .tile b { font-size:1.15rem; } .tile span { font-size:.72rem; } }
@media print { body { max-width:none; } .card,figure { break-inside:avoid; } }
"""


class Section(NamedTuple):
    """A heading and the markup under it."""

    title: str
    markup: str


def escape(text: str) -> str:
    """Text made safe inside markup, in attributes too; lone surrogates become a replacement character.

    Control characters and direction overrides are shown as escapes: a name must not look like another one.
    """
    return _escape(printable(text.encode("utf-8", "replace").decode("utf-8")), quote=True)


def page(title: str, sections: Sequence[Section], *, subtitle: str = "") -> str:
    """A whole HTML document.  It refers to nothing outside itself."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<header><h1>{escape(title)}</h1>",
        f'<p class="sub">{escape(subtitle)}</p>' if subtitle else "",
        "</header><main>",
    ]
    parts += [f"<section><h2>{escape(item.title)}</h2>{item.markup}</section>" for item in sections]
    return "\n".join([*parts, "</main></body></html>", ""])


def note(text: str) -> str:
    """A remark in small type."""
    return f'<p class="note">{escape(text)}</p>'


def tiles(items: Sequence[tuple[str, str, str]], *, columns: int = 3, key: str = "") -> str:
    """Headline numbers: (label, value, detail) each; those whose label begins with `key` are framed."""
    cells = []
    for label, value, detail in items:
        kind = "tile key" if key and label.startswith(key) else "tile"
        cells.append(
            f'<div class="{kind}"><span>{escape(label)}</span><b>{escape(value)}</b><span>{escape(detail)}</span></div>'
        )
    return f'<div class="tiles" style="--columns:{columns}">{"".join(cells)}</div>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> str:
    """A table that scrolls sideways on a narrow screen."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def figure(svg_markup: str, *, caption: str = "") -> str:
    """A plot (markup) with a caption."""
    title = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><div class="scroll">{svg_markup}</div>{title}</figure>'


def warnings(items: Sequence[str]) -> str:
    """A list that stands out; a plain "none" when there is nothing to warn of."""
    if not items:
        return note("None.")
    return '<ul class="warn">' + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def details(summary: str, markup: str) -> str:
    """Markup that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{markup}</details>"


def preformatted(text: str) -> str:
    """Text as it is, to copy from."""
    return f'<div class="scroll"><pre>{escape(text)}</pre></div>'
