"""Pictures with landmarks drawn on them, one by one and as contact sheets."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from faba_bench.files.atomic import replacing
from PIL import Image, ImageDraw

from llava_faba.experts import PriorExpert, PriorStatus
from llava_faba.priors.reading import read_picture
from llava_faba.priors.store import PriorStore

_COLOURS = {
    PriorStatus.FOUND.value: (60, 220, 90),
    PriorStatus.SEVERAL_FACES.value: (255, 190, 0),
    PriorStatus.NOT_FOUND.value: (255, 70, 70),
    PriorStatus.UNREADABLE.value: (255, 70, 70),
}
_BATCH = 16
_CAPTION = 16  # pixels


@dataclass(frozen=True)
class Shown:
    """One image and what is known of it. ``pixels``: uint8 RGB, None for an unreadable file; ``points`` (n, 2) in
    those pixels; ``note``: why it is unreadable."""

    image: str
    pixels: np.ndarray | None
    status: str
    points: np.ndarray | None
    note: str = ""


def computed(images: Iterable[str], folder: Path, expert: PriorExpert) -> Iterator[Shown]:
    """The images below ``folder`` with what the expert says of them now."""
    source = iter(images)
    while names := list(islice(source, _BATCH)):
        readings = [read_picture(folder / name) for name in names]
        pictures = [reading.picture for reading in readings if reading.picture is not None]
        result = expert.extract(pictures)
        rows = iter(range(len(pictures)))
        for name, reading in zip(names, readings, strict=True):
            if reading.picture is None:
                yield Shown(name, None, PriorStatus.UNREADABLE.value, None, reading.note)
                continue
            row = next(rows)
            points = result.landmarks[row] if result.landmarks else None
            yield _shown(name, reading.picture.pixels, result.statuses[row].value, points, reading.size)


def stored(images: Iterable[str], folder: Path, store: PriorStore, expert: PriorExpert) -> Iterator[Shown]:
    """The images below ``folder`` with what a store says of them; ``expert`` only turns priors into points."""
    for name in images:
        entry, reading = store.entry(name), read_picture(folder / name)
        if reading.picture is None:
            yield Shown(name, None, entry.status, None, reading.note)
            continue
        points = expert.landmarks(store.get(name), reading.size)
        yield _shown(name, reading.picture.pixels, entry.status, points, reading.size)


def drawn(shown: Shown, side: int) -> Image.Image:
    """The picture within ``side`` x ``side``, its landmarks, and a line with status and name."""
    colour = _COLOURS.get(shown.status, (255, 255, 255))
    sheet = Image.new("RGB", (side, side + _CAPTION), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    if shown.pixels is not None:
        height, width = shown.pixels.shape[:2]
        scale = side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        left, top = (side - size[0]) // 2, (side - size[1]) // 2
        sheet.paste(Image.fromarray(shown.pixels).resize(size), (left, top))
        radius = max(1.0, side / 250)
        for x, y in () if shown.points is None else shown.points * scale + (left, top):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    else:
        for line, text in enumerate(textwrap.wrap(_drawable(shown.note), side // 7)):
            draw.text((6, 6 + line * _CAPTION), text, fill=colour)
    caption = _drawable(f"{shown.status.replace('_', ' ')}  {shown.image}")
    draw.text((3, side + 2), caption[: side // 6], fill=colour)
    return sheet


def _drawable(text: str) -> str:
    """Text that Pillow's own font has letters for, with different texts kept different."""
    return text.encode("ascii", "backslashreplace").decode()


def write_pictures(shown: Iterable[Shown], out: Path, side: int = 512) -> list[Path]:
    """One PNG per image, named like it, in the images' own folders below ``out``; returns their paths."""
    written: list[Path] = []
    for one in shown:
        target = out / f"{one.image.lstrip('/')}.landmarks.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            drawn(one, side).save(partial, format="PNG")
        written.append(target)
    return written


def write_sheets(shown: Iterable[Shown], out: Path, side: int = 192, columns: int = 8, rows: int = 6) -> list[Path]:
    """Contact sheets ``sheet-001.png``, ... of ``columns`` x ``rows`` pictures below ``out``; returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    source = iter(shown)
    while page := list(islice(source, columns * rows)):
        used = -(-len(page) // columns)
        sheet = Image.new("RGB", (columns * side, used * (side + _CAPTION)), (24, 24, 24))
        for position, one in enumerate(page):
            at = (position % columns * side, position // columns * (side + _CAPTION))
            sheet.paste(drawn(one, side), at)
        target = out / f"sheet-{len(written) + 1:03d}.png"
        with replacing(target) as partial:
            sheet.save(partial, format="PNG")
        written.append(target)
    return written


def _shown(name: str, pixels: np.ndarray, status: str, points: np.ndarray | None, size: Sequence[int]) -> Shown:
    """Points in pixels of the original, which may have been shrunk, to those of ``pixels``."""
    if points is not None:
        points = points[:, :2] * np.array([pixels.shape[1] / size[0], pixels.shape[0] / size[1]])
    return Shown(name, pixels, status, points)
