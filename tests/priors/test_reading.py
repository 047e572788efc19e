"""Every kind of file has a defined result: what LLaVA would see, or unreadable with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llava_faba.priors.reading import MAX_SIDE, image_size, read_picture


def _gradient(width: int = 60, height: int = 40) -> Image.Image:
    values = np.linspace(0, 255, width * height * 3).reshape(height, width, 3)
    return Image.fromarray(values.astype(np.uint8))


def _as_llava_reads(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def _save_cmyk(path: Path) -> None:
    _gradient().convert("CMYK").save(path)


def _save_16_bit(path: Path) -> None:
    Image.fromarray((np.arange(2400).reshape(40, 60) * 20).astype(np.uint16)).save(path)


def _save_rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _gradient().save(path, exif=exif)


def _save_animated(path: Path) -> None:
    frames = [_gradient(), Image.new("RGB", (60, 40), "red")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def _save_palette_with_transparency(path: Path) -> None:
    _gradient().convert("P").save(path, transparency=3)


@pytest.mark.parametrize(
    ("save", "suffix", "note"),
    [
        (_save_cmyk, ".jpg", "CMYK"),
        (_save_16_bit, ".png", "I;16 pixels: values above 255 clipped (as LLaVA does)"),
        (_save_rotated, ".jpg", "EXIF orientation 6 not applied (LLaVA does not either)"),
        (_save_animated, ".gif", "several frames: the first"),
        (_save_animated, ".webp", "several frames: the first"),
        (_save_palette_with_transparency, ".png", ""),
        (lambda path: _gradient().convert("L").save(path), ".png", ""),
        (lambda path: _gradient().convert("1").save(path), ".png", ""),
        (lambda path: _gradient().convert("RGBA").save(path), ".png", ""),
    ],
)
def test_odd_pictures_are_read_as_llava_reads_them(tmp_path: Path, save: object, suffix: str, note: str) -> None:
    path = tmp_path / f"ü 人{suffix}"
    save(path)  # type: ignore[operator]
    reading = read_picture(path)
    assert reading.picture is not None and reading.size == (60, 40) and reading.note == note
    np.testing.assert_array_equal(reading.picture.pixels, _as_llava_reads(path))
    assert (reading.picture.size, reading.picture.scale) == ((60, 40), (1.0, 1.0))


def test_damage_beside_the_pixels_costs_no_picture(tmp_path: Path) -> None:
    """LLaVA reads such files, so their priors must be read as well."""
    exif, frames = tmp_path / "exif.png", tmp_path / "frames.tiff"
    _gradient().save(exif, exif=b"Exif\0\0no TIFF header")
    _gradient().save(frames, save_all=True, append_images=[_gradient(), _gradient()])
    frames.write_bytes(frames.read_bytes()[: frames.stat().st_size // 2])
    for path, note in ((exif, "damaged EXIF data or further frames"), (frames, "several frames: the first")):
        reading = read_picture(path)
        assert reading.picture is not None and reading.note == note
        np.testing.assert_array_equal(reading.picture.pixels, _as_llava_reads(path))


def test_unreadable_files_have_a_reason_that_names_no_place(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    _gradient(300, 300).save(whole)
    files = {
        "missing.jpg": None,
        "empty.jpg": b"",
        "text.jpg": b"this is not an image",
        "cut.jpg": whole.read_bytes()[:3000],
        "cut.png": _bytes_of(tmp_path, "PNG")[:2000],
    }
    reasons = {}
    for name, content in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        reading = read_picture(tmp_path / name)
        assert reading.picture is None and str(tmp_path) not in reading.note
        reasons[name] = reading.note
    (tmp_path / "folder.jpg").mkdir()
    reasons["folder.jpg"] = read_picture(tmp_path / "folder.jpg").note
    assert reasons["missing.jpg"] == "missing file" and reasons["empty.jpg"] == "empty file"
    assert reasons["text.jpg"] == "not an image that Pillow can read"
    assert "truncated" in reasons["cut.jpg"] and reasons["cut.png"].startswith("damaged")
    assert reasons["folder.jpg"].startswith("cannot be read")


def _bytes_of(folder: Path, kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise", kind)
    return (folder / "noise").read_bytes()


def test_random_damage_never_raises(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        content = np.frombuffer(_bytes_of(tmp_path, kind), np.uint8)
        for _ in range(25):
            broken = content.copy()
            broken[random.integers(0, len(broken), 12)] = random.integers(0, 255, 12)
            (tmp_path / "broken").write_bytes(broken[: random.integers(1, len(broken))].tobytes())
            reading = read_picture(tmp_path / "broken")
            assert (reading.picture is None) == reading.note.startswith(("damaged", "not an", "cannot", "too"))


def test_large_pictures_are_shrunk_and_keep_their_coordinates(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("L", (2 * MAX_SIDE, 600), 77).save(path)
    reading = read_picture(path)
    assert reading.picture is not None and reading.size == (2 * MAX_SIDE, 600)
    assert reading.picture.pixels.shape == (300, MAX_SIDE, 3) and reading.picture.scale == (2.0, 2.0)
    assert reading.note == f"shrunk to {MAX_SIDE}x300"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_large_jpeg_is_decoded_small(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.jpg"
    image = _gradient(40, 30).resize((1600, 1200), Image.Resampling.BICUBIC)
    image.convert(mode).save(path, quality=95)
    decoded: list[tuple[int, int]] = []
    real = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, *a, **k: (decoded.append(self.size), real(self, *a, **k))[1]
    )
    reading = read_picture(path, max_side=300)
    assert decoded == [(400, 300)] and reading.size == (1600, 1200)
    assert reading.picture is not None and reading.picture.pixels.shape == (225, 300, 3)
    np.testing.assert_allclose(reading.picture.scale, (1600 / 300, 1200 / 225))
    small = np.asarray(Image.open(path).convert("RGB").resize((300, 225), Image.Resampling.BOX), dtype=float)
    assert np.abs(reading.picture.pixels - small).mean() < 3


def test_a_picture_that_pillow_refuses_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.png"
    _gradient().save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    reading = read_picture(path)
    assert reading.picture is None and reading.note.startswith("too large")


def test_sizes_come_from_headers(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_bytes_of(tmp_path, "PNG")[:200])  # the rest is not needed
    assert image_size(path) == ((60, 60), "")
    os.truncate(path, 4)
    assert image_size(path) == ((0, 0), "not an image that Pillow can read")
