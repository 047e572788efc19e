"""Crops belong to photographs, not to names; one run at a time; odd names and links end in a result."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from faba_bench.files.locks import exclusive
from PIL import Image

from llava_faba.align.folder import LOCK, LOG, align_folder
from llava_faba.errors import UserError


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    import skimage.data

    folder = tmp_path / "photographs"
    folder.mkdir()
    face = Image.fromarray(skimage.data.astronaut()).crop((60, 0, 360, 300))
    face.save(folder / "a.png")
    face.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "b.png")
    return folder


def test_photographs_that_changed_places_are_aligned_again(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert align_folder(photographs, out, size=64) == {"found": 2}
    before = {name: (out / name).read_bytes() for name in ("a.png", "b.png")}
    (photographs / "a.png").rename(tmp_path / "x")
    (photographs / "b.png").rename(photographs / "a.png")
    (tmp_path / "x").rename(photographs / "b.png")
    align_folder(photographs, out, size=64)
    assert (out / "a.png").read_bytes() == before["b.png"] and (out / "b.png").read_bytes() == before["a.png"]
    Image.new("RGB", (90, 90)).save(photographs / "a.png")
    assert align_folder(photographs, out, size=64) == {"not_found": 1, "found": 1}
    assert not (out / "a.png").exists()
    assert len((out / LOG).read_text().splitlines()) == 5
    assert len(json.loads((out / LOG).read_text().splitlines()[0])["sha256"]) == 64


@pytest.mark.parametrize("kind", ["equal size and time", "another folder", "turned by a tag alone"])
def test_another_photograph_under_an_old_name(photographs: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    first = photographs / "a.png"
    align_folder(photographs, out, size=64)
    before, kept = (out / "a.png").read_bytes(), (out / "b.png").read_bytes()
    folder = photographs
    if kind == "equal size and time":
        data, when = first.read_bytes(), first.stat()
        other = (photographs / "b.png").read_bytes()
        length = max(len(data), len(other))
        first.write_bytes(data.ljust(length, b"\0"))  # what follows a PNG's end is not read
        os.utime(first, ns=(when.st_atime_ns, when.st_mtime_ns))
        align_folder(photographs, out, size=64)
        first.write_bytes(other.ljust(length, b"\0"))
        os.utime(first, ns=(when.st_atime_ns, when.st_mtime_ns))
    elif kind == "another folder":
        folder = tmp_path / "others"
        folder.mkdir()
        Image.open(first).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "a.png")
        (folder / "b.png").write_bytes((photographs / "b.png").read_bytes())
    else:
        picture = Image.open(first)
        exif = picture.getexif()
        exif[0x0112] = 2  # mirrored
        picture.save(first, exif=exif)
    assert align_folder(folder, out, size=64) == {"found": 2}
    assert (out / "a.png").read_bytes() not in (before, b"") and (out / "b.png").read_bytes() == kept


def test_long_names_links_in_circles_and_two_runs(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (photographs / "a.png").rename(photographs / f"{'n' * 246}.png")
    (photographs / "c.png").symlink_to("d.png")
    (photographs / "d.png").symlink_to("c.png")
    (photographs / "loop").symlink_to("loop")
    assert align_folder(photographs, out, size=64) == {"found": 2, "unreadable": 2}
    with exclusive(out / LOCK, "a test"), pytest.raises(UserError, match="under way in another process"):
        align_folder(photographs, out, size=64)
