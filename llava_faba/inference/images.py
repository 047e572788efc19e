"""Opening pictures the way LLaVA does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llava_faba.errors import UserError


def open_image(path: str | Path) -> Any:
    """The picture as an RGB PIL image, as LLaVA's tools read it (no EXIF rotation).

    Raises UserError naming the file when it is missing or not a readable image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{path}: this image does not exist.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable image: {error}") from error
