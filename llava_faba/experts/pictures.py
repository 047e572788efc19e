"""What an expert sees of a picture that is open: the same as extraction sees of its file."""

from __future__ import annotations

from typing import Any

import numpy as np

from llava_faba.experts.base import Picture

MAX_SIDE = 2048
"""Pictures with a longer side are shrunk to it before the expert sees them; coordinates stay those of the original.

The vision tower sees 336 pixels, so nothing is lost, and one 100-megapixel file does not stop a detector for minutes.
"""


def shrunk_size(size: tuple[int, int], max_side: int = MAX_SIDE) -> tuple[int, int] | None:
    """(width, height) that a picture of ``size`` is shrunk to; None for one that stays as it is."""
    longer = max(size)
    if longer <= max_side:
        return None
    width, height = (max(1, round(side * max_side / longer)) for side in size)
    return width, height


def whole_picture(image: Any) -> Picture:
    """A PIL image as an expert sees it. Of a JPEG over ``MAX_SIDE`` extraction decodes fewer pixels, so that its prior
    may differ in the last digits."""
    from PIL import Image

    rgb, size = image.convert("RGB"), image.size
    target = shrunk_size(size)
    if target is None:
        return Picture.whole(np.asarray(rgb))
    small = rgb.resize(target, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return Picture(np.asarray(small), size, (size[0] / target[0], size[1] / target[1]))
