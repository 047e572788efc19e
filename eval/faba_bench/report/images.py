"""Pictures inside a page: data URIs, sizes read from file headers, landmarks drawn as SVG circles."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faba_bench.errors import BenchError
from faba_bench.files.arrays import read_arrays
from faba_bench.files.paths import IMAGE_LIMIT, PIXEL_LIMIT, inside, regular_file
from faba_bench.files.problem import FileProblem
from faba_bench.report.html import escape

_LONGEST_SIDE = 384
_EMBED_LIMIT = 4_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")


@dataclass(frozen=True)
class Landmarks:
    """Points per image, in pixels of the image: what ``llava-faba priors export`` writes."""

    points: dict[str, npt.NDArray[np.float32]]
    status: dict[str, str]


def load_landmarks(path: Path | str) -> Landmarks:
    """Read an npz file with `images` (relative paths), `landmarks` (n, points, 2) and `status`.

    Raises `BenchError` naming the file and the key that is missing or has the wrong shape.
    """
    names = ("images", "landmarks", "status")
    images, points, status = read_arrays(path, names, error=BenchError).values()
    if (
        points.ndim != 3
        or points.shape[2] != 2
        or points.dtype.kind != "f"
        or images.shape != status.shape
        or images.shape != points.shape[:1]
    ):
        raise BenchError(
            f"{path}: landmarks must be (n, points, 2) with n images and n status values, "
            f"not {points.shape}, {images.shape}, {status.shape}"
        )
    shown = [str(name) for name in images]
    return Landmarks(
        {name: np.asarray(row, dtype=np.float32) for name, row in zip(shown, points, strict=True)},
        {name: str(value) for name, value in zip(shown, status, strict=True)},
    )


def inside_folder(folder: Path, name: str) -> Path | None:
    """The file of a record's image when it lies in `folder`, after links; anything else is not shown: None."""
    try:
        return inside(folder, name)
    except FileProblem:
        return None


def picture(path: Path, points: npt.NDArray[np.float32] | None = None, alt: str = "") -> str | None:
    """Markup of an image with landmarks on it; None when the file cannot be read as an image.

    Pictures that are large, or neither PNG nor JPEG, are re-encoded, for which Pillow is needed.
    """
    loaded = _load(path)
    if loaded is None:
        return None
    data, (wide, tall) = loaded
    kind = "png" if data[:4] == b"\x89PNG" else "jpeg"
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    circles = _circles(points, (wide, tall)) if points is not None else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {tall}" role="img" '
        f'aria-label="{escape(alt)}"><image href="{uri}" width="{wide}" height="{tall}"/>{circles}</svg>'
    )


def image_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of PNG or JPEG bytes, None for anything else."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return (width, height) if width and height else None
    if data[:2] == b"\xff\xd8":
        return _jpeg_size(data)
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            return (width, height) if width and height else None
        else:
            position += 2 + int(struct.unpack(">H", data[position + 2 : position + 4])[0])
    return None


def _load(path: Path) -> tuple[bytes, tuple[int, int]] | None:
    """Bytes to embed, and the (width, height) of the file's own picture."""
    try:
        data = regular_file(path, limit=IMAGE_LIMIT).read_bytes()
    except (OSError, ValueError, FileProblem):  # ValueError: a path with a null byte
        return None
    size = image_size(data)
    if size is None or max(size) > _LONGEST_SIDE:
        small = _scaled(data)
        if small is not None:
            data, size = small
    if size is None or len(data) > _EMBED_LIMIT:
        return None
    return data, size


def _scaled(data: bytes) -> tuple[bytes, tuple[int, int]] | None:
    try:
        from PIL import Image
    except ImportError:
        return None
    try:
        # Formats that start programs (EPS runs Ghostscript) are left out.
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            size = image.size
            if size[0] * size[1] > PIXEL_LIMIT:
                return None
            small = image.convert("RGB")
            small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=88)
            return buffer.getvalue(), size
    except Exception:  # decoders of damaged files raise nearly anything; the page says that there is no picture
        return None


def _circles(points: npt.NDArray[np.float32], size: Sequence[int]) -> str:
    radius = max(size) / 80
    inside = [(float(x), float(y)) for x, y in points if np.isfinite(x) and np.isfinite(y)]
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.2f}"/>' for x, y in inside)
    return f'<g fill="#38e07b" stroke="#0b3d20" stroke-width="{radius / 3:.2f}">{dots}</g>'
