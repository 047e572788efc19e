"""``report.html``: faces with what was said of them, to filter and to look at; timelines of videos. One file, no
network."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faba_bench.files.atomic import write_text
from faba_bench.report.html import Section, escape, note, page, tiles

from llava_faba.analysis.detection import load_points
from llava_faba.analysis.table import Row
from llava_faba.errors import UserError
from llava_faba.images import open_image

_MOST_FACES = 400
_THUMB = 128
_MOST_PICTURES = 60
_PICTURE = 360
_SCRIPT = """
const boxes=[...document.querySelectorAll('.pick input')],cards=[...document.querySelectorAll('.face')];
const count=document.getElementById('shown');
function show(){const want=boxes.filter(b=>b.checked).map(b=>b.value);let n=0;
for(const c of cards){const has=c.dataset.has.split(' ');const on=want.every(w=>has.includes(w));c.hidden=!on;n+=on}
count.textContent=n+' of '+cards.length+' shown'}
boxes.forEach(b=>b.addEventListener('change',show));show();
"""
_STYLE = """<style>.pick{display:flex;flex-wrap:wrap;gap:.3rem .9rem;margin:.4rem 0;padding:0;border:0;font-size:.9rem}
.faces{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:.8rem}
.face{border:1px solid var(--line);border-radius:.5rem;padding:.6rem;font-size:.85rem;overflow-wrap:anywhere}
.face[hidden]{display:none}.face img{width:100%;border-radius:.3rem;display:block}.face b{display:block;margin:.3rem 0
.1rem} .face details{color:var(--soft)}.line text{font-size:10px;fill:var(--soft)}.line rect{fill:var(--one)}
.line circle{fill:var(--two)}
.boxes{margin:0}.boxes svg{width:100%;display:block}.boxes rect{fill:none;stroke:#e6550d;stroke-width:2;
vector-effect:non-scaling-stroke}.boxes path{fill:none;stroke:#31a354;stroke-width:2;stroke-linecap:round;
vector-effect:non-scaling-stroke}
.boxes text{fill:#e6550d;font-weight:bold;paint-order:stroke;stroke:#fff;
stroke-width:2}</style>"""


def write_report(rows: Sequence[Row], out: Path, work: Path, title: str, warnings: Sequence[str] = ()) -> Path:
    """Write ``out/report.html``; at most 400 faces are shown, evenly taken, and the page says so."""
    faces = [row for row in rows if row["face"] is not None]
    step = max(1, -(-len(faces) // _MOST_FACES))
    shown = faces[::step]
    emotions = Counter(row["emotion"] for row in faces if row["emotion"])
    aus = Counter(name for row in faces for name in row if _is_au(name) and row[name] == 1)
    sections = [
        Section("Overview", _overview(rows, faces, emotions) + "".join(note(text) for text in warnings)),
        Section("Faces", _STYLE + _filters(emotions, aus) + _gallery(shown, len(faces), work)),
    ]
    pictures = [row for row in faces if row["frame"] is None]
    if pictures:
        sections.append(Section("Pictures", _pictures(pictures, work)))
    videos = sorted({row["source"] for row in rows if row["frame"] is not None})
    for source in videos:
        sections.append(Section(f"Timeline: {source}", _timeline([row for row in faces if row["source"] == source])))
    text = page(title, sections, subtitle="Read by a model. It says what faces look like, not what people feel.")
    path = out / "report.html"
    write_text(path, text.replace("</main>", f"</main><script>{_SCRIPT}</script>"))
    return path


def _is_au(name: str) -> bool:
    return name.startswith("AU") and name[2:].isdigit()


def _overview(rows: Sequence[Row], faces: Sequence[Row], emotions: Mapping[str, int]) -> str:
    statuses = Counter(row["status"] for row in rows)
    frequent = ", ".join(f"{name} {count}" for name, count in sorted(emotions.items(), key=lambda one: -one[1])[:3])
    unread = sum(1 for row in faces if row["unparsed"])
    cut = sum(1 for row in faces if row["cut"])
    return tiles(
        [
            ("Faces", str(len(faces)), f"in {len({row['source'] for row in rows})} files"),
            ("No face", str(statuses["not_found"]), f"{statuses['unreadable']} could not be read"),
            ("Unparsed", str(unread), f"{cut} cut by the token limit"),
            ("Emotions", frequent or "-", "the most frequent"),
        ],
        columns=4,
    )


def _filters(emotions: Mapping[str, int], aus: Mapping[str, int]) -> str:
    names = [*sorted(emotions), *sorted(aus, key=lambda name: int(name[2:]))]
    counts = {**emotions, **aus}
    boxes = "".join(
        f'<label><input type="checkbox" value="{escape(name)}"> {escape(name)} ({counts[name]})</label>'
        for name in names
    )
    return f'<fieldset class="pick"><legend>Show faces with</legend>{boxes}</fieldset><p class="note" id="shown"></p>'


def _pictures(faces: Sequence[Row], work: Path) -> str:
    """Each picture with the boxes and landmarks of its faces; a box leads to what was read of it by its number."""
    by_source: dict[str, list[Row]] = {}
    for row in faces:
        by_source.setdefault(row["source"], []).append(row)
    step = max(1, -(-len(by_source) // _MOST_PICTURES))
    shown = list(by_source.items())[::step]
    markup = "".join(_boxes(source, rows, work) for source, rows in shown)
    missing = "" if len(shown) == len(by_source) else note(f"{len(shown)} of {len(by_source)} pictures, evenly taken.")
    return f'{missing}<div class="faces">{markup}</div>'


def _boxes(source: str, rows: Sequence[Row], work: Path) -> str:
    try:
        image = open_image(source, upright=True).convert("RGB")
    except UserError:
        return f'<figure class="face">{escape(source)} is gone</figure>'
    width, height = image.size
    image.thumbnail((_PICTURE, _PICTURE))
    marks = "".join(
        f'<rect x="{row["x"]}" y="{row["y"]}" width="{row["width"]}" height="{row["height"]}"/>'
        f'<text x="{row["x"]}" y="{row["y"]}" font-size="{max(width, height) / 18:.0f}">{row["face"]}</text>'
        for row in rows
    )
    marks += "".join(_dots(load_points(work, row["crop"])) for row in rows if row["crop"])
    said = "; ".join(f"face {row['face']}: {row['emotion'] or 'no emotion read'}, {_aus(row)}" for row in rows)
    return (
        f'<figure class="face boxes"><svg role="img" aria-label="{escape(f"{source}: {said}")}" '
        f'viewBox="0 0 {width} {height}"><image width="{width}" height="{height}" href="{jpeg_uri(image)}"/>'
        f"{marks}</svg>"
        f"<figcaption>{escape(source)}<br>{escape(said)}</figcaption></figure>"
    )


def _dots(points: Any) -> str:
    """Landmarks as one path of lines without length, which round caps make dots."""
    if points is None:
        return ""
    return f'<path d="{"".join(f"M{x:.1f} {y:.1f}h0" for x, y in points.tolist())}"/>'


def jpeg_uri(image: Any) -> str:
    """A picture as a data URI."""
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _gallery(shown: Sequence[Row], count: int, work: Path) -> str:
    cards = "".join(_card(row, work) for row in shown)
    missing = "" if len(shown) == count else note(f"{len(shown)} of {count} faces, evenly taken; faces.csv has all.")
    return f'{missing}<div class="faces">{cards}</div>'


def _aus(row: Row) -> str:
    values = [row[name] for name in row if _is_au(name)]
    if all(value is None for value in values):
        return "AUs unparsed" if row["au_text"] else "AUs not asked"
    return " ".join(f"{name}{_sure(row, name)}" for name in row if _is_au(name) and row[name] == 1) or "no AU"


def _sure(row: Row, name: str) -> str:
    """The share of sampled answers that agree, where they were asked for."""
    share = row[f"{name}_confidence"]
    return "" if share is None else f" ({share:.2f})"


def _emotion(row: Row) -> str:
    return f"{row['emotion']}{_sure(row, 'emotion')}" if row["emotion"] else ""


def _likelihoods(row: Row) -> str:
    """The classes by their likelihood, where it was asked for."""
    found = [(name.removesuffix("_likelihood"), row[name]) for name in row if name.endswith("_likelihood")]
    known = [(name, value) for name, value in found if value is not None and not _is_au(name)]
    if not known:
        return ""
    listed = ", ".join(f"{name} {value:.2f}" for name, value in sorted(known, key=lambda one: -one[1])[:3])
    return f"<div>{escape(f'likelihood: {listed}')}</div>"


def _card(row: Row, work: Path) -> str:
    present = [name for name in row if _is_au(name) and row[name] == 1]
    place = row["source"] if row["time"] is None else f"{row['source']}, {row['time']:.2f} s"
    emotion = _emotion(row)
    emotion = emotion or ("unparsed" if row["emotion_text"] else "not asked")
    texts = "".join(f"<p>{escape(row[name])}</p>" for name in ("au_text", "emotion_text") if row[name])
    return (
        f'<article class="face" data-has="{escape(" ".join([row["emotion"] or "", *present]))}">'
        f"{_thumbnail(row, work)}<b>{escape(emotion)}</b>{escape(_aus(row))}{_likelihoods(row)}"
        f"<div>{escape(place)}, face {row['face']}</div>"
        + (f"<details><summary>What the model wrote</summary>{texts}</details>" if texts else "")
        + (f"<div>{escape(str(row['error']))}</div>" if row["error"] else "")
        + "</article>"
    )


def _thumbnail(row: Row, work: Path) -> str:
    from PIL import Image

    if row["crop"] is None:
        return '<div class="none">too small to ask about</div>'
    try:
        with Image.open(work / "crops" / row["crop"]) as image:
            image.thumbnail((_THUMB, _THUMB))
            content = jpeg_uri(image)
    except OSError:
        return '<div class="none">its crop is gone</div>'
    return f'<img alt="face {row["face"]} of {escape(row["source"])}" src="{content}">'


def _timeline(rows: Sequence[Row]) -> str:
    """One line an AU and emotion, one mark a frame in which it was read; a dot is the peak of a track."""
    if not rows:
        return note("No face.")
    end = max(float(row["time"] or 0) for row in rows) or 1.0
    markup = []
    for face in sorted({row["face"] for row in rows}):
        own = [row for row in rows if row["face"] == face]
        lines: dict[str, list[float]] = {}
        for row in own:
            for name in [row["emotion"], *(au for au in row if _is_au(au) and row[au] == 1)]:
                if name:
                    lines.setdefault(name, []).append(float(row["time"] or 0))
        peaks = [float(row["time"] or 0) for row in own if row["peak"]]
        markup.append(_lines(f"face {face}", lines, peaks, end))
    return "".join(markup)


def _lines(title: str, lines: Mapping[str, Sequence[float]], peaks: Sequence[float], end: float) -> str:
    left, width, high = 90, 560, 16
    total = high * (len(lines) + 2)
    parts: list[Any] = [f'<text x="0" y="12">{escape(title)}, 0 to {end:.1f} s</text>']
    for at, name in enumerate(sorted(lines), 1):
        y = high * at
        parts.append(f'<text x="0" y="{y + 12}">{escape(name)}</text>')
        for time in lines[name]:
            parts.append(f'<rect x="{left + width * time / end:.1f}" y="{y + 3}" width="3" height="10"/>')
    for time in peaks:
        parts.append(f'<circle cx="{left + width * time / end:.1f}" cy="{total - high / 2:.1f}" r="4"/>')
    label = escape(f"{title}: " + ", ".join(sorted(lines)))
    return (
        f'<svg class="line" role="img" aria-label="{label}" viewBox="0 0 {left + width + 10} {total}">'
        + "".join(parts)
        + "</svg>"
    )
