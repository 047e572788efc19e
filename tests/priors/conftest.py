"""Stores and pictures that the tests of the priors share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llava_faba.priors.writer import PriorStoreWriter, Row

SETTINGS = {"detector": "none"}


def writer(path: Path, size: int = 4, expert: str = "precomputed") -> PriorStoreWriter:
    return PriorStoreWriter(path, expert=expert, version="1", settings=SETTINGS, size=size)


def row(name: str, status: str = "found", size: int = 4, note: str = "") -> Row:
    """A row whose numbers follow from its name."""
    seed = sum(name.encode("utf-8", "surrogateescape"))
    return Row(name, np.arange(size, dtype=np.float32) + seed, status, (seed % 90 + 1, 50), note)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Five rows, written in two goes."""
    path = tmp_path / "store"
    with writer(path) as open_writer:
        open_writer.append([row("a/1.jpg"), row("b/1.jpg", "several_faces"), row("ü/ñ 人.png", note="CMYK")])
        open_writer.append([row("c.jpg", "not_found"), Row("d.jpg", None, "unreadable", note="missing file")])
    return path


@pytest.fixture
def faces(tmp_path: Path) -> Callable[[int], Path]:
    """A folder with so many pictures of one face, each a little different."""
    import matplotlib

    def make(count: int) -> Path:
        folder = tmp_path / "faces"
        source = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
        face = source.convert("RGB").crop((130, 60, 390, 340)).resize((140, 150))
        for number in range(count):
            file = folder / f"part{number % 3}" / f"{number:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            face.rotate(number % 7 - 3).save(file, compress_level=1)
        return folder

    return make
