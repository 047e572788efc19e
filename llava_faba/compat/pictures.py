"""Pictures that reach LLaVA's model worker over the network."""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Callable
from typing import Any


def rgb_from_base64(original: Callable[..., Any]) -> Callable[..., Any]:
    """LLaVA pads a picture in its own mode: palettes, grey, transparency and bitmaps get another colour, or fail.

    Its other programs convert to RGB first, as this does. What is no picture, is too large, or would start a program
    (PostScript) is a ValueError, which the worker reports for the one request.
    """

    @functools.wraps(original)
    def load_image_from_base64(image: Any) -> Any:
        from llava_faba.images import decoded

        try:
            data = base64.b64decode(image)
        except (binascii.Error, TypeError, ValueError) as reason:
            raise ValueError(f"a picture that is not base64: {reason}") from reason
        return decoded(data, "a picture of this request", error=ValueError).convert("RGB")

    return load_image_from_base64
