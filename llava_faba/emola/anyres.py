"""LLaVA-1.6's crops: which ones a picture is cut into, and how their features become one sequence.

The same numbers as ``llava.mm_utils.process_anyres_image`` and ``prepare_inputs_labels_for_multimodal`` give. Sizes
are (height, width) here, as transformers has them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

Size = tuple[int, int]


def best_resolution(size: Size, resolutions: Sequence[Sequence[int]]) -> tuple[int, int]:
    """The (width, height) of ``resolutions`` that shows most of a picture of ``size``, and wastes least of the area."""
    height, width = size
    best, shown_most, wasted_least = (0, 0), 0, math.inf
    for wide, high in resolutions:
        scale = min(wide / width, high / height)
        shown = min(int(width * scale) * int(height * scale), width * height)
        wasted = wide * high - shown
        if shown > shown_most or (shown == shown_most and wasted < wasted_least):
            best, shown_most, wasted_least = (int(wide), int(high)), shown, wasted
    return best


def grid(size: Size, resolutions: Sequence[Sequence[int]], side: int) -> tuple[int, int]:
    """(columns, rows) of crops of ``side`` pixels."""
    wide, high = best_resolution(size, resolutions)
    return wide // side, high // side


def crop_count(size: Size, resolutions: Sequence[Sequence[int]], side: int) -> int:
    """The whole picture and its crops."""
    columns, rows = grid(size, resolutions, side)
    return 1 + columns * rows


def crops(image: np.ndarray, resolutions: Sequence[Sequence[int]], side: int) -> list[np.ndarray]:
    """The whole picture stretched to a square, then its crops row by row; uint8 (3, h, w) to (3, side, side) each."""
    picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1)))
    wide, high = best_resolution((picture.height, picture.width), resolutions)
    canvas = Image.new("RGB", (wide, high))
    scale_x, scale_y = wide / picture.width, high / picture.height
    if scale_x < scale_y:
        new = (wide, min(math.ceil(picture.height * scale_x), high))
    else:
        new = (min(math.ceil(picture.width * scale_y), wide), high)
    canvas.paste(picture.resize(new), ((wide - new[0]) // 2, (high - new[1]) // 2))
    parts = [picture.resize((side, side))]
    for top in range(0, high, side):
        parts += [canvas.crop((left, top, left + side, top + side)) for left in range(0, wide, side)]
    return [np.moveaxis(np.asarray(part), -1, 0) for part in parts]


def padded(pixels: Sequence[np.ndarray]) -> np.ndarray:
    """Stacks of crops of different height to one array (n, most crops, 3, S, S), zeros behind the shorter ones."""
    most = max(len(stack) for stack in pixels)
    result = np.zeros((len(pixels), most, *pixels[0].shape[1:]), dtype=pixels[0].dtype)
    for row, stack in enumerate(pixels):
        result[row, : len(stack)] = stack
    return result


def token_count(size: Size, resolutions: Sequence[Sequence[int]], side: int, patches: int, merge: str) -> int:
    """How many tokens a picture becomes, without its prior; ``patches``: along one edge of a crop."""
    columns, rows = grid(size, resolutions, side)
    if not merge.startswith("spatial"):
        return (1 + columns * rows) * patches * patches
    if "unpad" not in merge:
        return patches * patches * (1 + columns * rows)
    top, left = _padding((rows * patches, columns * patches), size)
    return patches * patches + (rows * patches - 2 * top) * (columns * patches - 2 * left + 1)


def merged(
    features: torch.Tensor,
    size: Size,
    resolutions: Sequence[Sequence[int]],
    side: int,
    merge: str,
    newline: torch.Tensor | None,
) -> torch.Tensor:
    """Features (crops, patches, hidden) of one picture to one sequence (tokens, hidden)."""
    if not merge.startswith("spatial"):
        return features.flatten(0, 1)
    base, rest = features[0], features[1:]
    edge = math.isqrt(base.shape[0])
    columns, rows = grid(size, resolutions, side)
    rest = rest.view(rows, columns, edge, edge, -1)
    if "unpad" not in merge:  # as LLaVA flattens them: by rows of patches within each row of crops
        return torch.cat((base, rest.permute(0, 2, 1, 3, 4).flatten(0, 3)))
    rest = rest.permute(4, 0, 2, 1, 3).flatten(1, 2).flatten(2, 3)
    top, left = _padding((rest.shape[1], rest.shape[2]), size)
    rest = rest[:, top : rest.shape[1] - top, left : rest.shape[2] - left]
    assert newline is not None  # the model makes one for this merge type
    ends = newline.to(rest)[:, None, None].expand(-1, rest.shape[1], 1)
    return torch.cat((base, torch.cat((rest, ends), dim=2).flatten(1, 2).transpose(0, 1)))


def _padding(shape: tuple[int, int], size: Size) -> tuple[int, int]:
    """How many rows and columns of a feature map of ``shape`` lie in the padding on each side."""
    height, width = size
    if width / height > shape[1] / shape[0]:
        return (shape[0] - int(height * (shape[1] / width))) // 2, 0
    return 0, (shape[1] - int(width * (shape[0] / height))) // 2
