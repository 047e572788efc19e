"""From the image tensor that LLaVA's tools pass around back to what an expert can read.

LLaVA pads, crops or stretches an image before the model sees it; what can be undone is undone here, so that a prior
computed inside the model is the one that extraction would have stored, but for the lower resolution.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from llava_faba.building import building_modules
from llava_faba.experts import Frames, Picture, PriorExpert, PriorResult
from llava_faba.experts.pictures import whole_picture

_asked: weakref.WeakSet[PriorExpert] = weakref.WeakSet()


@dataclass(frozen=True)
class Squares:
    """What the vision tower sees of n images. ``pixels``: float tensor (n, 3, S, S), whole numbers from 0 to 255,
    RGB, on the model's device; ``sizes``: (width, height) of each original; ``layouts``: how each original lies in its
    square, see ``Frames.of_squares``."""

    pixels: torch.Tensor
    sizes: list[tuple[int, int]]
    layouts: list[str | None]

    def frames(self) -> Frames:
        """Where the squares lie in the originals."""
        side, sizes = self.pixels.shape[-1], np.array(self.sizes, dtype=np.float64).reshape(-1, 2)
        frames = Frames(sizes, np.zeros_like(sizes), np.zeros_like(sizes))
        for layout in set(self.layouts):
            rows = np.flatnonzero([one == layout for one in self.layouts])
            part = Frames.of_squares(sizes[rows], side, layout)
            frames.scales[rows], frames.offsets[rows] = part.scales, part.offsets
        return frames

    def pictures(self) -> list[Picture]:
        """Each square as a picture on the CPU, without padding and distortion."""
        arrays = self.pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return [_undo(*one) for one in zip(arrays, self.sizes, self.layouts, strict=True)]


def priors_of_pictures(expert: PriorExpert, pictures: Sequence[Any]) -> PriorResult:
    """Priors of PIL images as they are: what extraction would have stored of them.

    For whoever has the pictures; LLaVA's own tools hand over tensors only (``compute_priors``).
    """
    return _asked_once(expert, lambda: expert.extract([whole_picture(picture) for picture in pictures]))


def compute_priors(expert: PriorExpert, squares: Squares) -> PriorResult:
    """Priors of preprocessed images: on their device and in one batch where the expert can, else by pictures."""
    return _asked_once(expert, lambda: _compute(expert, squares))


def _asked_once(expert: PriorExpert, ask: Callable[[], PriorResult]) -> PriorResult:
    if expert in _asked:
        return ask()
    with building_modules():  # an expert builds its networks when it is first asked
        result = ask()
    _asked.add(expert)
    return result


def _compute(expert: PriorExpert, squares: Squares) -> PriorResult:
    result = expert.extract_tensor(squares.pixels, squares.frames())
    return expert.extract(squares.pictures()) if result is None else result


def to_squares(
    images: torch.Tensor | list[torch.Tensor],
    image_mean: Sequence[float],
    image_std: Sequence[float],
    image_sizes: Sequence[Any] | None,
    aspect_ratio: str | None,
) -> Squares:
    """Undo the normalization, on the images' device.

    ``images``: as LLaVA's ``process_images`` returns them: (batch, 3, S, S), (batch, crops, 3, S, S), or a list of
    (3, S, S) or (crops, 3, S, S); of several crops the first is the whole image. ``image_sizes``: (width, height) of
    each original; without it the originals are taken to be square. ``aspect_ratio``: the config's
    ``image_aspect_ratio``.
    """
    if isinstance(images, torch.Tensor):
        whole, stretched = (images[:, 0] if images.ndim == 5 else images), [images.ndim == 5] * len(images)
    else:
        whole = torch.stack([image[0] if image.ndim == 4 else image for image in images])
        stretched = [image.ndim == 4 for image in images]
    side = whole.shape[-1]
    mean, std = (torch.tensor(list(values), device=whole.device).view(1, 3, 1, 1) for values in (image_mean, image_std))
    pixels = ((whole.detach().float() * std + mean) * 255).round().clamp(0, 255)
    sizes = [(side, side)] * len(whole) if image_sizes is None else [(int(one[0]), int(one[1])) for one in image_sizes]
    return Squares(
        pixels,
        sizes,
        ["stretch" if crops and aspect_ratio == "anyres" else aspect_ratio for crops in stretched],
    )


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
