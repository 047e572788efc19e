"""Opening pictures the way LLaVA does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llava_faba.errors import UserError


def open_image(path: str | Path, upright: bool = False) -> Any:
    """The picture as an RGB PIL image, as LLaVA's tools read it.

    ``upright``: turned as its EXIF data say, which LLaVA does not do. Raises UserError naming the file when it is
    missing or not a readable image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
            return _turned(picture) if upright else picture
    except FileNotFoundError:
        raise UserError(f"{path}: this image does not exist.") from None
    except Exception as error:  # Pillow's readers raise nearly anything for damaged data
        raise UserError(f"{path}: not a readable image: {error}") from error


def _turned(picture: Any) -> Any:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # damaged EXIF data say nothing
        return picture
