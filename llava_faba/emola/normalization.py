"""What is done to a facial prior between the expert and the projector.

Landmark coordinates are small movements on top of large constants. ``standardize`` removes the constants: per
coordinate, minus the training set's mean, divided by its standard deviation. ``pose`` first removes translation,
scale and rotation by a similarity (Procrustes) alignment to the mean shape, then standardizes what is left.
``none`` is what the paper does. A zero vector means "no face" and stays zero in every method. The vector of several
experts is cut into theirs, and each is normalized for itself: "pose+standardize".

Statistics live in the checkpoint's config.json as plain numbers (docs/decisions/0003-normalization-in-config.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from llava_faba.errors import CheckpointError, PriorError
from llava_faba.vetting.prior_parts import METHOD_KEYS, SIZES_KEY, methods, needed_statistics

METHODS = tuple(METHOD_KEYS)

# Below this many image half-sides a coordinate is constant, and dividing by it would only amplify noise.
_SMALLEST_SCALE = 1e-4

# Points that lie apart by less than this share of their coordinates lie in one place, as far as float32 can tell.
_NO_SHAPE = 1e-6


def fit_statistics(
    method: str, priors: np.ndarray, sizes: Sequence[int] | None = None
) -> dict[str, list[float]] | None:
    """Statistics of ``method`` over ``priors`` (n, size), float; all-zero rows ("no face") are left out.

    ``sizes``: numbers of each of several experts, whose parts of a row are fitted each for itself, with rows of zeros
    of its own. Returns None for ``none``. Raises PriorError when no row holds a face, when ``pose`` is asked of priors
    that are not x, y pairs or have no shape, and for numbers that are not finite.
    """
    sizes = list(sizes or [priors.shape[1]])
    named = _methods(method, len(sizes))
    keys = needed_statistics(named)
    fitted: dict[str, list[float]] = {key: [] for key in keys}
    blocks = np.split(np.asarray(priors, dtype=np.float64), np.cumsum(sizes)[:-1], axis=1)
    for one, block in zip(named, blocks, strict=True):
        found = _fit_part(one, block)
        for key in keys:  # what a part has no use for changes nothing there
            fitted[key] += found.get(key) or [1.0 if key == "scale" else 0.0] * block.shape[1]
    return fitted or None


def _fit_part(method: str, priors: np.ndarray) -> dict[str, list[float]]:
    if method == "none":
        return {}
    found = priors[np.any(priors != 0, axis=1)]
    if len(found) == 0:
        raise PriorError(f"facial_prior_normalization '{method}' cannot be fitted: no prior holds a face.")
    if not np.isfinite(found).all():
        raise PriorError(
            f"facial_prior_normalization '{method}' cannot be fitted: a prior has NaN or infinite numbers."
        )
    statistics: dict[str, list[float]] = {}
    if method == "pose":
        shape = _mean_shape(found)
        statistics["shape"] = shape.tolist()
        found = _aligned(torch.from_numpy(found), torch.from_numpy(shape)).numpy()
    statistics["mean"] = found.mean(axis=0).tolist()
    statistics["scale"] = np.maximum(found.std(axis=0), _SMALLEST_SCALE).tolist()
    return statistics


class PriorNormalizer:
    """Applies a fitted normalization to float priors (batch, size), on any device, in float32.

    ``sizes``: numbers of each of several experts; each part is normalized for itself, and one of zeros stays zero.
    """

    def __init__(
        self, method: str, statistics: Mapping[str, Any] | None, size: int, sizes: Sequence[int] | None = None
    ) -> None:
        self.method = method
        self._sizes = list(sizes or [size])
        if sum(self._sizes) != size:
            raise CheckpointError(f"config.json: {SIZES_KEY} {self._sizes} do not add up to {size} numbers.")
        self._methods = _methods(method, len(self._sizes))
        self._values: dict[str, torch.Tensor] = {}
        for key in needed_statistics(self._methods):
            values = (statistics or {}).get(key)
            if values is None or len(values) != size:
                raise CheckpointError(
                    f"config.json: facial_prior_normalization is '{method}' but facial_prior_statistics has no "
                    f"'{key}' of {size} numbers; the checkpoint is incomplete."
                )
            self._values[key] = torch.tensor(values, dtype=torch.float32)

    @classmethod
    def from_config(cls, config: Any, size: int) -> PriorNormalizer:
        return cls(
            getattr(config, "facial_prior_normalization", None) or "none",
            getattr(config, "facial_prior_statistics", None),
            size,
            getattr(config, SIZES_KEY, None),
        )

    def __call__(self, priors: torch.Tensor) -> torch.Tensor:
        priors = priors.float()
        if not self._values:
            return priors
        values = {key: value.to(priors.device).split(self._sizes) for key, value in self._values.items()}
        parts = priors.split(self._sizes, dim=-1)
        done = [
            _normalized(method, part, {key: value[number] for key, value in values.items()})
            for number, (method, part) in enumerate(zip(self._methods, parts, strict=True))
        ]
        return torch.cat(done, dim=-1)


def _normalized(method: str, priors: torch.Tensor, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if method == "none":
        return priors
    found = (priors != 0).any(dim=-1, keepdim=True)
    result = _aligned(priors, values["shape"]) if method == "pose" else priors
    result = (result - values["mean"]) / values["scale"]
    return torch.where(found, result, torch.zeros_like(result))


def _methods(text: str, parts: int) -> list[str]:
    try:
        return methods(text, parts)
    except ValueError as error:
        raise CheckpointError(f"facial_prior_normalization {error}.") from None


def _mean_shape(priors: np.ndarray) -> np.ndarray:
    """Generalised Procrustes mean of x, y pairs (n, 2p) -> (2p,), centred, unit norm, upright."""
    if priors.shape[1] % 2:
        raise PriorError(
            f"facial_prior_normalization 'pose' needs x, y pairs; priors of {priors.shape[1]} numbers are not. "
            "Use 'standardize'."
        )
    points = priors.reshape(len(priors), -1, 2)
    centred = points - points.mean(axis=1, keepdims=True)
    sizes = np.linalg.norm(centred, axis=(1, 2))
    if np.any(sizes <= _NO_SHAPE * np.abs(priors).max(axis=1)):
        raise PriorError(
            "facial_prior_normalization 'pose' needs the x, y of points on a face, and there are priors whose points "
            "all lie in one place. Use 'standardize' for priors that are not points."
        )
    shape = priors.mean(axis=0)
    if np.linalg.norm(centred.mean(axis=0)) <= _NO_SHAPE * sizes.max():
        shape = priors[0]  # faces that are upright and upside down in equal parts: their mean has no shape
    shape = _unit(shape)
    for _ in range(5):  # converges in two or three rounds on faces
        shape = _unit(_aligned(torch.from_numpy(priors), torch.from_numpy(shape)).numpy().mean(axis=0))
    return shape


def _unit(shape: np.ndarray) -> np.ndarray:
    points = shape.reshape(-1, 2)
    points = points - points.mean(axis=0)
    return (points / np.linalg.norm(points)).reshape(-1)


def _aligned(priors: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    """Least-squares similarity of each row's x, y pairs onto ``shape``; (n, 2p) -> (n, 2p).

    In the complex plane the best rotation and scale of centred points z onto a shape s is one number,
    sum(conj(z) s) / sum(|z|^2).
    """
    z = torch.view_as_complex(priors.reshape(len(priors), -1, 2).contiguous())
    s = torch.view_as_complex(shape.reshape(-1, 2).contiguous())
    z = z - z.mean(dim=-1, keepdim=True)
    power = (z.abs() ** 2).sum(dim=-1, keepdim=True).clamp_min(torch.finfo(priors.dtype).tiny)
    turn = (z.conj() * s).sum(dim=-1, keepdim=True) / power
    return torch.view_as_real(z * turn).reshape(priors.shape)
