"""CLIP's preprocessing on PIL, for the pictures of the proof."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from llava_faba.emola import anyres


def preprocess(
    picture: np.ndarray, settings: dict[str, Any], layout: str | None, pinpoints: list[list[int]] | None
) -> torch.Tensor:
    """uint8 (h, w, 3) to float32 (3, S, S), or (crops, 3, S, S) where ``layout`` is "anyres"."""
    crop = settings.get("crop_size") or settings["size"]
    side = int(crop["height"] if "height" in crop else crop["shortest_edge"]) if isinstance(crop, dict) else int(crop)
    mean = torch.tensor(settings["image_mean"]).view(3, 1, 1)
    deviation = torch.tensor(settings["image_std"]).view(3, 1, 1)
    image = np.moveaxis(picture, -1, 0)
    if layout == "anyres":
        parts = anyres.crops(image, pinpoints or [], side)
    else:
        parts = [np.moveaxis(np.asarray(Image.fromarray(picture).resize((side, side))), -1, 0)]
    stack = torch.from_numpy(np.stack(parts)).float() / 255
    stack = (stack - mean) / deviation
    return stack if layout == "anyres" else stack[0]
