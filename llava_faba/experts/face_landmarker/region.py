"""The turned square around a face, and pixels in it: from a picture, or from a square tensor on a device.

A square is an affine map (2, 3) from the pixels of a crop to continuous coordinates of the original image. As in
MediaPipe's converter on a CPU, pixel i of the crop is sampled at its edge i, not at its middle.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image

from llava_faba.experts.base import Frames, Picture
from llava_faba.experts.face_landmarker.detector import Face

MESH_SIDE = 256
_MARGIN = 1.5


def letterbox(size: tuple[int, int], side: int) -> np.ndarray:
    """The map that puts a whole image of ``size`` (width, height) into the middle of ``side`` x ``side`` pixels."""
    longer = max(size)
    scale = longer / side
    return np.array([[scale, 0, (size[0] - longer) / 2], [0, scale, (size[1] - longer) / 2]])


def parts(size: tuple[int, int], side: int) -> list[np.ndarray]:
    """The maps of a whole image and, where it is large, of overlapping parts of half its size, for small faces."""
    squares = [letterbox(size, side)]
    if max(size) >= 4 * side:
        edge = max(size) / 2
        for top in np.arange(0, max(size[1] - edge / 2, 1), edge / 2):
            for left in np.arange(0, max(size[0] - edge / 2, 1), edge / 2):
                squares.append(np.array([[edge / side, 0, left], [0, edge / side, top]]))
    return squares


def face_square(face: Face) -> np.ndarray:
    """The map of the square 1.5 times as large as a face's box, turned so that its eyes are level."""
    centre = (face.box[:2] + face.box[2:]) / 2
    side = float((face.box[2:] - face.box[:2]).max()) * _MARGIN
    x, y = face.eyes[1] - face.eyes[0]
    angle = math.atan2(y, x)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = turn * (side / MESH_SIDE)
    return np.concatenate((linear, (centre - linear @ np.full(2, MESH_SIDE / 2))[:, None]), axis=1)


def moved(points: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Points (n, 2) of a crop in the original's coordinates."""
    return points @ square[:, :2].T + square[:, 2]


def crop(picture: Picture, square: np.ndarray, side: int) -> np.ndarray:
    """float32 RGB (side, side, 3), 0 to 255, bilinear, black beyond the picture."""
    scale, offset = np.array(picture.scale), np.array(picture.offset)
    linear = square[:, :2] / scale[:, None]
    shift = (square[:, 2] - offset) / scale
    # PIL adds half a pixel to the crop's indices before the map, and takes it off behind it.
    shift = shift - linear @ np.full(2, 0.5) + 0.5
    coefficients = (*linear[0], shift[0], *linear[1], shift[1])
    image = Image.fromarray(picture.pixels)
    made = image.transform((side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(made, dtype=np.float32)


def crops_from_squares(images: Any, frames: Frames, squares: np.ndarray, side: int) -> Any:
    """Float tensor (n, side, side, 3), 0 to 255, of square tensors (n, 3, S, S) that lie in originals by ``frames``.

    ``squares``: (n, 2, 3). Black beyond the original, padding included.
    """
    import torch
    from torch.nn import functional

    edges = np.arange(side, dtype=np.float64)
    grid = np.stack((*np.meshgrid(edges, edges), np.ones((side, side))), axis=-1)
    original = np.einsum("hwk,njk->nhwj", grid, squares)
    inside = ((original > -0.5) & (original < frames.sizes[:, None, None] - 0.5)).all(axis=-1)
    tensor = (original + 0.5 - frames.offsets[:, None, None]) / frames.scales[:, None, None]
    places = torch.as_tensor(tensor * (2 / images.shape[-1]) - 1, dtype=images.dtype, device=images.device)
    made = functional.grid_sample(images, places, mode="bilinear", padding_mode="border", align_corners=False)
    mask = torch.as_tensor(inside, dtype=images.dtype, device=images.device)
    return (made.round() * mask[:, None]).permute(0, 2, 3, 1).contiguous()
