"""FAN's geometry and heatmaps in batches: what the face-alignment package does face by face in Python and numba.

Coordinates are continuous (pixel i covers i to i + 1). A face's region is a square of 2.05 times its box's mean side,
shifted up by 0.12 of the box's height; its corners are cut to whole pixels, as in the package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from face_alignment import utils

from llava_faba.experts.base import Frames, Picture
from llava_faba.experts.sampling import sample_grid, square_grid

CROP = utils.CROP_RESOLUTION
HEATMAP = utils.HEATMAP_RESOLUTION
POINTS = utils.NUM_LANDMARKS
_SMALLEST_FOR_PACKAGE = 8
_CPU_BATCH = 2  # what a core's cache holds of FAN's layers; larger batches were up to a fifth slower an image
_DEPTH_BATCH = 8  # 68 heatmaps of 256 x 256 a face are 18 MB


@dataclass(frozen=True)
class Regions:
    """Regions of n faces in their originals; float64 arrays. The heatmaps cover ``centers`` (n, 2) +- half of
    ``spans`` (n,); the crops cover ``corners`` (n, 4): left, top, right, bottom in whole pixels."""

    centers: np.ndarray
    spans: np.ndarray
    corners: np.ndarray


@dataclass(frozen=True)
class FaceCrop:
    """A network input: uint8 RGB (256, 256, 3), and the region it shows of an original of ``size``."""

    pixels: np.ndarray
    center: tuple[float, float]
    span: float
    size: tuple[int, int]


def regions(boxes: np.ndarray, reference: float = utils.REFERENCE_SCALE) -> Regions:
    """Regions of face boxes (n, 4): left, top, right, bottom in pixels of the originals.

    ``reference``: what the package divides a box's size by, which depends on the detector that drew the box.
    """
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    centers = np.stack((boxes[:, 2] - width / 2, boxes[:, 3] - height / 2 - height * utils.CENTER_Y_OFFSET), axis=1)
    spans = utils.SCALE_FACTOR * (width + height) / reference
    low = np.trunc(centers + spans[:, None] * (1 / CROP - 0.5))
    high = np.trunc(centers + spans[:, None] * 0.5)
    return Regions(centers, spans, np.concatenate((low, np.maximum(high, low + 1)), axis=1))


def whole_image_boxes(sizes: np.ndarray) -> np.ndarray:
    """The face boxes (n, 4) of aligned crops: the whole images, (width, height) each."""
    return np.concatenate((np.zeros_like(sizes), sizes), axis=1)


def crop_whole(picture: Picture) -> FaceCrop:
    """The network input for a picture that is one aligned face."""
    return crop_box(picture, (0.0, 0.0, float(picture.size[0]), float(picture.size[1])))


def crop_box(
    picture: Picture, box: tuple[float, float, float, float], reference: float = utils.REFERENCE_SCALE
) -> FaceCrop:
    """The network input for a face box in the original's coordinates.

    An image that is its own original is cropped by the package's own function; one that was resized or padded on its
    way is sampled where that function would have sampled the original.
    """
    at = regions(np.array([box], dtype=np.float64), reference)
    center, span = at.centers[0], float(at.spans[0])
    original = picture.scale == (1.0, 1.0) and picture.offset == (0.0, 0.0)
    if original and min(box[2] - box[0], box[3] - box[1]) >= _SMALLEST_FOR_PACKAGE:
        pixels = utils.crop(picture.pixels, center, span / utils.SCALE_FACTOR)
    else:
        left, top, right, bottom = at.corners[0]
        xs, ys = square_grid(left, top, right - left, bottom - top, CROP)
        pixels = sample_grid(picture, xs, ys, outside="black")
    return FaceCrop(pixels, (float(center[0]), float(center[1])), span, picture.size)


def crops_from_squares(images: torch.Tensor, frames: Frames, at: Regions) -> torch.Tensor:
    """Network inputs (n, 3, 256, 256), 0 to 1, from squares (n, 3, S, S), 0 to 255, on their device.

    What lies beyond the original, or beyond the part of it that the square shows, is black.
    """
    side = images.shape[-1]
    device = images.device
    steps = torch.as_tensor((np.arange(CROP) + 0.5) / CROP, device=device, dtype=torch.float32)
    axes, inside = [], []
    for axis in (0, 1):
        low, high = at.corners[:, axis], at.corners[:, axis + 2]
        scale, offset = frames.scales[:, axis], frames.offsets[:, axis]
        first, extent = ((low - offset) / scale, (high - low) / scale)
        begin, end = np.maximum(-offset / scale, 0), np.minimum((frames.sizes[:, axis] - offset) / scale, side)
        first, extent, begin, end = (
            torch.as_tensor(value, device=device, dtype=torch.float32)[:, None] for value in (first, extent, begin, end)
        )
        places = first + steps * extent
        inside.append(((places >= begin) & (places <= end)).float())
        axes.append(torch.clamp(places, begin + 0.5, end - 0.5) * (2 / side) - 1)
    grid = torch.stack((axes[0][:, None, :].expand(-1, CROP, -1), axes[1][:, :, None].expand(-1, -1, CROP)), dim=-1)
    crops = torch.nn.functional.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return crops * inside[0][:, None, None, :] * inside[1][:, None, :, None] / 255


def heatmaps(network: Callable[[torch.Tensor], Any], crops: torch.Tensor, flip: bool) -> torch.Tensor:
    """Heatmaps (n, 68, 64, 64) of the network's last stage; with ``flip`` added to those of the mirrored crops."""
    found = []
    for part in crops.split(_CPU_BATCH if crops.device.type == "cpu" else max(len(crops), 1)):
        images = part.contiguous(memory_format=torch.channels_last)
        maps = network(images)[-1]
        if flip:
            maps = maps + utils.flip(network(utils.flip(images))[-1], is_label=True)
        found.append(maps.contiguous())
    return torch.cat(found)


def peaks(maps: torch.Tensor) -> torch.Tensor:
    """The places of the heatmaps' maxima, (n, 68, 2) x and y in continuous heatmap coordinates.

    A quarter of a pixel towards the higher neighbour is added, as in the package, except on the border.
    """
    count, points, height, width = maps.shape
    flat = maps.reshape(count, points, -1)
    at = flat.argmax(dim=-1, keepdim=True)
    x, y = at % width, torch.div(at, width, rounding_mode="floor")
    slopes = [
        torch.sign(
            flat.gather(-1, (at + step).clamp(0, height * width - 1))
            - flat.gather(-1, (at - step).clamp(0, height * width - 1))
        )
        for step in (1, width)
    ]
    interior = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    moved = [place + 0.5 + 0.25 * slope * interior for place, slope in zip((x, y), slopes, strict=True)]
    return torch.cat(moved, dim=-1)


def in_original(places: np.ndarray, centers: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Heatmap coordinates (n, 68, 2) to pixels of the originals. Not cut to whole pixels, unlike the package's."""
    return (places / HEATMAP - 0.5) * spans[:, None, None] + centers[:, None, :]


def depths(network: Callable[[torch.Tensor], torch.Tensor], crops: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """The depth network's output (n, 68), in pixels of the crop, for peaks ``places`` (n, 68, 2)."""
    found = []
    for part, at in zip(crops.split(_DEPTH_BATCH), places.split(_DEPTH_BATCH), strict=True):
        found.append(network(torch.cat((part, drawn_points(at * (CROP / HEATMAP))), dim=1)))
    return torch.cat(found)


def drawn_points(places: torch.Tensor) -> torch.Tensor:
    """A Gaussian spot for each point of (n, 68, 2) in crop pixels: (n, 68, 256, 256), as the package draws them.

    The spot is 13 pixels wide. At the left and upper border the package starts it at another pixel of the spot than
    it would take to cut it off; the depth network was trained on that, so it is done here as well.
    """
    kernel = torch.as_tensor(utils._gaussian(size=13), device=places.device, dtype=places.dtype)
    kernel = kernel[6] / kernel[6, 6].sqrt()  # separable: an outer product of the middle row with itself
    low, high = torch.floor(places - 6), torch.floor(places + 6)
    visible = ((low <= CROP) & (high >= 1)).all(dim=-1) & (places > 0).all(dim=-1)
    profiles = []
    for axis in (0, 1):
        begin = low[..., axis].clamp(min=1) - 1
        end = high[..., axis].clamp(max=CROP)
        start = (-low[..., axis]).clamp(min=1) - 1
        pixel = torch.arange(CROP, device=places.device, dtype=places.dtype)
        index = pixel - begin[..., None] + start[..., None]
        drawn = (pixel >= begin[..., None]) & (pixel < end[..., None]) & (index >= 0) & (index < len(kernel))
        profiles.append(kernel[index.clamp(0, len(kernel) - 1).long()] * drawn)
    spots = profiles[1][..., :, None] * profiles[0][..., None, :]
    return (spots * visible[..., None, None]).clamp(max=1)
