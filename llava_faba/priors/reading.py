"""Image files to pictures, the way LLaVA reads them, with a defined result for every file.

LLaVA calls ``Image.open(path).convert("RGB")`` and nothing else, and a prior must describe the pixels that the vision
tower sees. So EXIF rotation is not applied, of an animation the first frame counts, and 16-bit values above 255 are
clipped; each such case is noted.
"""

from __future__ import annotations

import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from llava_faba.experts import Picture
from llava_faba.experts.pictures import MAX_SIDE, shrunk_size
from llava_faba.images import readable_formats
from llava_faba.priors.content import NO_FILE, Content

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")
"""File names that count as images when a folder is extracted."""

_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Reading:
    """What came of one file: the picture, or None and in ``note`` why not.

    ``size``: (width, height) of the file's image, (0, 0) where not even its header could be read. ``note``: what is
    worth knowing of a picture that was read, else empty. ``content``: which file it was, None where it cannot be read.
    """

    picture: Picture | None
    size: tuple[int, int]
    note: str = ""
    content: Content | None = None


def reading_settings() -> dict[str, Any]:
    """How files are turned into pixels: what a prior depends on besides the file and the expert. A store keeps it."""
    return {
        "max_side": MAX_SIDE,
        "exif_rotation": "not applied",
        "frames": "first",
        "cut_short": "read" if ImageFile.LOAD_TRUNCATED_IMAGES else "unreadable",
    }


def read_picture(path: str | Path, max_side: int | None = None) -> Reading:
    """Read a file; never raises for what is wrong with it. ``max_side``: ``MAX_SIDE`` when left out."""
    size, content = (0, 0), None
    try:
        found = os.stat(path)  # noqa: PTH116 - two million Path objects are not free
        if not stat.S_ISREG(found.st_mode):
            return Reading(None, size, "cannot be read: not a regular file")
        with open(path, "rb") as file:  # noqa: PTH123
            content = Content.of_open(file)
            if content.size == 0:
                return Reading(None, size, "empty file", content)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of large and odd files; the note says so where it matters
                with Image.open(file, formats=readable_formats()) as image:
                    size, mode = image.size, image.mode
                    pixels, shrunk = _pixels(image, MAX_SIDE if max_side is None else max_side)
                    notes = _notes(image, mode)
    except FileNotFoundError:
        return Reading(None, size, "missing file", NO_FILE)
    except Exception as error:  # Pillow's readers raise nearly anything for damaged data
        return Reading(None, size, _reason(error), content)
    scale = (size[0] / pixels.shape[1], size[1] / pixels.shape[0])
    return Reading(Picture(pixels, size, scale), size, "; ".join(notes + shrunk), content)


def image_size(path: str | Path) -> tuple[tuple[int, int], str]:
    """(width, height) from the file's header, and an empty string; or (0, 0) and the reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=readable_formats()) as image:
                return image.size, ""
    except Exception as error:
        return (0, 0), _reason(error)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"  # its message names a path of this machine
    if isinstance(error, Image.DecompressionBombError):
        return "too large: Pillow, and so LLaVA, refuses images of that many pixels"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"damaged: {type(error).__name__}: {error}".replace("\n", " ")


def _pixels(image: Image.Image, max_side: int) -> tuple[np.ndarray, list[str]]:
    target = shrunk_size(image.size, max_side)
    if target is None:
        return np.asarray(image.convert("RGB")), []
    width, height = target
    image.draft(None, (width, height))  # a JPEG is decoded at an eighth to a whole of its size, never larger than that
    image.load()
    rgb = image if image.mode == "RGB" else image.convert("RGB")  # converting copies, and this may be a gigabyte
    small = rgb.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small), [f"shrunk to {width}x{height}"]


def _notes(image: Image.Image, mode: str) -> list[str]:
    """What is odd about a picture that was read; ``mode``: that of the file's pixels."""
    notes = []
    if mode.startswith(("I", "F")):
        notes.append(f"{mode} pixels: values above 255 clipped (as LLaVA does)")
    elif mode == "CMYK":
        notes.append("CMYK")
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
        if orientation not in (0, 1):
            notes.append(f"EXIF orientation {orientation} not applied (LLaVA does not either)")
        if getattr(image, "is_animated", False):
            notes.append("several frames: the first")
    except Exception:  # the pixels are there, and LLaVA does not ask for more
        notes.append("damaged EXIF data or further frames")
    return notes
