"""The one place where pictures from outside are opened: which files, which formats, how large, which way up.

A record's ``image`` is a name that somebody else has written: it stays in its folder, is a regular file, and is decoded
by readers that start no program (Pillow's reader of EPS runs Ghostscript).
"""

from __future__ import annotations

import functools
import io
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from faba_bench.files.oserrors import sentence
from faba_bench.files.paths import IMAGE_LIMIT, PIXEL_LIMIT, inside, regular_file
from faba_bench.files.terminal import printable

from llava_faba.errors import RecordError, UserError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats that are decoded, by Pillow's names, as far as the installed Pillow knows them."""
MISSING = "image not found"
_ORIENTATION = 0x0112


def image_path(
    folder: Path | str, name: object, *, allow_outside: bool = False, error: type[Exception] = UserError
) -> Path:
    """The file of a record's ``image``: inside ``folder`` after links, a regular file of at most 256 MiB.

    ``allow_outside`` takes paths that lead out of ``folder``. Raises ``error`` naming the path.
    """
    path = inside(folder, name, allow_outside=allow_outside, error=error)
    return regular_file(_there(path, error), limit=IMAGE_LIMIT, error=error)


class ImageFolder:
    """The folder that records' image paths are relative to; asks the file system little, for hundreds of thousands."""

    def __init__(
        self, folder: Path | str, *, allow_outside: bool = False, error: type[Exception] = RecordError
    ) -> None:
        self.folder, self.allow_outside, self._error = Path(folder), allow_outside, error
        self._sound: set[str] = set()

    def check(self, name: str) -> Path:
        """The file of ``name``. Raises ``error`` as ``image_path`` does; a missing file is "image not found"."""
        path = self.folder / name if "\0" not in name else self.folder
        try:
            status = os.lstat(path)
        except (OSError, ValueError):
            status = None
        parent = os.path.dirname(name)  # noqa: PTH120 - strings: this runs once per record
        plain = status is not None and stat.S_ISREG(status.st_mode) and status.st_size <= IMAGE_LIMIT
        if plain and parent in self._sound and name[:1] != "/":
            return path
        path = inside(self.folder, name, allow_outside=self.allow_outside, error=self._error)
        if not path.exists():
            raise self._error(f"{MISSING}: {printable(str(path))}")
        regular_file(path, limit=IMAGE_LIMIT, error=self._error)
        self._sound.add(parent)  # its folder lies inside, so other plain files in it do
        return path


def image_bytes(path: Path | str, *, error: type[Exception] = UserError) -> bytes:
    """The bytes of an image file as they are. Raises ``error`` for what is no regular file, too large, unreadable."""
    path = regular_file(_there(Path(path), error), limit=IMAGE_LIMIT, error=error)
    try:
        return path.read_bytes()
    except OSError as reason:
        raise error(sentence(reason)) from reason


def _there(path: Path, error: type[Exception]) -> Path:
    if not os.path.lexists(path):
        raise error(f"{printable(str(path))}: this image does not exist.")
    return path


@functools.cache
def readable_formats() -> list[str]:
    """Those of ``FORMATS`` that the installed Pillow knows, for its ``Image.open(formats=...)``."""
    from PIL import Image as PIL

    PIL.init()
    return [form for form in FORMATS if form in PIL.OPEN]


def refuse_programs(path: Path | str) -> None:
    """Raises ValueError for a file that Pillow would hand to a program: PostScript, to Ghostscript.

    For those who let LLaVA open the file. Raises OSError for a file that cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(16)
    if head.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")):
        raise ValueError("PostScript, which would be run and is no picture: convert it to PNG or JPEG")


def decoded(data: bytes, name: Path | str, *, error: type[Exception] = UserError) -> Image:
    """The picture in ``data``, decoded wholly, in its own mode; ``name`` is for messages.

    Raises ``error`` for what is no picture, damaged, of a format that is not read here, or of too many pixels.
    """
    from PIL import Image as PIL

    shown = printable(str(name))
    try:
        with PIL.open(io.BytesIO(data), formats=readable_formats()) as image:
            if image.width * image.height > PIXEL_LIMIT:
                raise error(
                    f"{shown}: {image.width} x {image.height} pixels, more than the limit of {PIXEL_LIMIT}: "
                    "scale it down"
                )
            image.load()
            return image
    except error:
        raise
    except Exception as reason:
        # Decoders of damaged files raise nearly anything.
        said = re.sub(r"<_io\.BytesIO object at 0x[0-9a-f]+>", "this file", printable(str(reason)))[:300]
        raise error(f"{shown}: not a readable image: {type(reason).__name__}: {said}") from reason


def open_image(path: Path | str, upright: bool = False, *, error: type[Exception] = UserError) -> Image:
    """The picture as an RGB image, as LLaVA's tools read it.

    ``upright``: turned as its EXIF data say, which LLaVA does not do. Raises ``error`` naming the file when it is
    missing or not a readable image.
    """
    image = decoded(image_bytes(path, error=error), path, error=error)
    try:
        return (upright_of(image) if upright else image).convert("RGB")
    except Exception as reason:
        raise error(f"{printable(str(path))}: not a readable image: {reason}") from reason


def orientation(image: Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where there is none or it makes no sense."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data say nothing
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright_of(image: Image) -> Image:
    """The picture turned as its EXIF data say; as it is where they say nothing or are damaged."""
    from PIL import ImageOps

    if orientation(image) == 1:
        return image
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image
