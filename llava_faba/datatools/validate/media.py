"""Looking into image and prior files."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faba_bench.files.terminal import printable

from llava_faba.errors import UserError
from llava_faba.images import open_image

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

THUMBNAIL = 16


@dataclass(frozen=True)
class ImageFacts:
    """What one image file holds. ``error`` is None when it decodes; then the rest is set.

    ``pixels`` is a hash of the decoded RGB values and the size, so that it does not depend on the file
    format; ``bits`` is a 64-bit difference hash and ``thumbnail`` 16 x 16 grey values, both for near
    duplicates.
    """

    path: str
    error: str | None
    missing: bool = False
    pixels: str = ""
    bits: bytes = b""
    thumbnail: bytes = b""


def look_at_image(path: str) -> ImageFacts:
    """Decode an image wholly."""
    from PIL import Image

    if not os.path.exists(path):  # noqa: PTH110
        return ImageFacts(path, "no such file", missing=True)
    try:
        rgb = open_image(path)
    except UserError as error:
        return ImageFacts(path, str(error).replace(f"{printable(path)}: ", ""))
    digest = hashlib.blake2b(rgb.tobytes(), digest_size=16, person=b"faba-pixels")
    digest.update(f"{rgb.width}x{rgb.height}".encode())
    grey = rgb.convert("L")
    small = grey.resize((9, 8), Image.Resampling.BILINEAR).tobytes()
    bits = 0
    for row in range(8):
        for column in range(8):
            bits = bits << 1 | (small[row * 9 + column] < small[row * 9 + column + 1])
    thumbnail = grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR).tobytes()
    return ImageFacts(path, None, False, digest.hexdigest(), bits.to_bytes(8, "big"), thumbnail)


@dataclass(frozen=True)
class PriorFacts:
    """What one ``.npy`` prior holds; ``kind`` is the problem's kind or None."""

    path: str
    kind: str | None
    message: str = ""
    size: int = 0


def look_at_prior(path: str) -> PriorFacts:
    """Load one vector without unpickling anything."""
    from faba_bench.files.arrays import VECTOR_LIMIT, read_array

    if not os.path.isfile(path):  # noqa: PTH113
        return PriorFacts(path, "prior-missing", "no such file")
    try:
        return describe_vector(path, read_array(path, limit=VECTOR_LIMIT, error=UserError))
    except UserError as error:
        return PriorFacts(path, "prior-unreadable", str(error).replace(path, "file"))


def describe_vector(path: str, vector: npt.NDArray[np.generic]) -> PriorFacts:
    import numpy as np
    from faba_bench.files.arrays import is_vector

    size = int(vector.size)
    if not is_vector(vector):
        return PriorFacts(path, "prior-size", f"shape {vector.shape}, expected one vector", size)
    if not np.isfinite(np.asarray(vector, dtype=np.float32)).all():
        return PriorFacts(path, "prior-value", "holds NaN or infinity", size)
    return PriorFacts(path, None, "", size)
