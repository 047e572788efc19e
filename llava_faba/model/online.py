"""From the image tensor that LLaVA's tools pass around back to a picture that an expert can read.

LLaVA pads, crops or stretches an image before the model sees it; what can be undone is undone here, so that a prior
computed inside the model is the one that extraction would have stored, but for the lower resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from llava_faba.experts import Picture


def to_pictures(
    images: torch.Tensor | list[torch.Tensor],
    image_mean: Sequence[float],
    image_std: Sequence[float],
    image_sizes: Sequence[Any] | None,
    aspect_ratio: str | None,
) -> list[Picture]:
    """One picture per image.

    ``images``: as LLaVA's ``process_images`` returns them: (batch, 3, S, S), (batch, crops, 3, S, S), or a list of
    (3, S, S) or (crops, 3, S, S); of several crops the first is the whole image. ``image_sizes``: (width, height) of
    each original; without it the originals are taken to be square. ``aspect_ratio``: the config's
    ``image_aspect_ratio``.
    """
    mean, std = torch.tensor(image_mean).view(3, 1, 1), torch.tensor(image_std).view(3, 1, 1)
    pictures = []
    for index, image in enumerate(images):
        whole = image[0] if image.ndim == 4 else image
        side = whole.shape[-1]
        size = (side, side) if image_sizes is None else tuple(int(edge) for edge in image_sizes[index])
        values = (whole.detach().cpu().float() * std + mean) * 255
        pixels = values.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        stretched = image.ndim == 4 and aspect_ratio == "anyres"
        pictures.append(_undo(pixels, (size[0], size[1]), "stretch" if stretched else aspect_ratio))
    return pictures


def _undo(pixels: np.ndarray, size: tuple[int, int], layout: str | None) -> Picture:
    side = pixels.shape[0]
    width, height = size
    if width == height:
        return Picture(pixels, size, (width / side, height / side))
    if layout == "pad":
        return _without_padding(pixels, size)
    if layout == "stretch":
        return _unstretched(pixels, size)
    # CLIP's own preprocessing: the shorter side fills the square, the rest of the longer one is cropped off.
    scale = min(size) / side
    return Picture(pixels, size, (scale, scale), ((width - min(size)) / 2, (height - min(size)) / 2))


def _without_padding(pixels: np.ndarray, size: tuple[int, int]) -> Picture:
    width, height = size
    longer, side = max(size), pixels.shape[0]
    scale = longer / side
    # Where LLaVA's expand2square pastes the image, in pixels of the original.
    left, top = (longer - width) // 2, (longer - height) // 2
    x0, x1 = round(left / scale), round((left + width) / scale)
    y0, y1 = round(top / scale), round((top + height) / scale)
    inner = np.ascontiguousarray(pixels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)])
    return Picture(inner, size, (scale, scale), (x0 * scale - left, y0 * scale - top))


def _unstretched(pixels: np.ndarray, size: tuple[int, int]) -> Picture:
    width, height = size
    side = pixels.shape[0]
    shape = (max(1, round(side * width / max(size))), max(1, round(side * height / max(size))))
    restored = np.asarray(Image.fromarray(pixels).resize(shape))
    return Picture(restored, size, (width / shape[0], height / shape[1]))
