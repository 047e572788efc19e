"""A contact sheet: each action unit on each portrait, then pictures of a data set, all labelled.

``python -m llava_faba.demo.contact_sheet sheet.jpg`` makes the one in the documentation.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .faces.action_units import ACTION_UNITS
from .faces.identity import SPREAD, Identity
from .faces.render import Face, render_face
from .faces.sources import SOURCES

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from .dataset import Sample

_INTENSITY = 0.85


def plain_identity(portrait: str) -> Identity:
    """The portrait with its own proportions and colours."""
    return Identity(portrait, portrait, False, dict.fromkeys(SPREAD, 0.0), (), (1.0, 1.0, 1.0))


def contact_sheet(samples: list[Sample], columns: int = 8, tile: int = 144) -> Picture:
    """Every action unit alone at 85% on both portraits, after the neutral face, then the samples.

    Args:
        samples: what :func:`llava_faba.demo.dataset.plan` gives, as many as there should be.
        columns, tile: pictures in a row, and the side of each.
    """
    tiles: list[tuple[str, Face | None]] = []
    for source in SOURCES:
        identity = plain_identity(source.name)
        tiles.append(("neutral", Face(identity)))
        for number, unit in ACTION_UNITS.items():
            label = f"AU{number} {unit.name.lower()}"
            extra = {25: _INTENSITY} if number == 26 else {}
            tiles.append((label, Face(identity, {number: _INTENSITY, **extra})))
        tiles.extend([("", None)] * (-len(tiles) % columns))
    for sample in samples:
        label = "+".join(map(str, sample.units)) or "-"
        tiles.append((f"{label} {sample.emotion or ''}", sample.face))
    return _lay_out(tiles, columns, tile)


def _lay_out(tiles: list[tuple[str, Face | None]], columns: int, tile: int) -> Picture:
    from PIL import Image, ImageDraw

    caption = 14
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * tile, rows * (tile + caption)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (label, face) in enumerate(tiles):
        if face is None:
            continue
        x, y = index % columns * tile, index // columns * (tile + caption)
        picture = Image.fromarray(np.asarray(render_face(face)))
        sheet.paste(picture.resize((tile, tile), Image.Resampling.LANCZOS), (x, y + caption))
        pen.text((x + 2, y + 1), label, fill="black")
    return sheet


def main() -> None:
    """Write the sheet to the path given."""
    from .dataset import plan

    contact_sheet(plan("test", 400, 0)[:32]).save(Path(sys.argv[1]), quality=74)


if __name__ == "__main__":
    main()
