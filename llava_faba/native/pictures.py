"""Priors of pictures for processors: given with the call and checked, or computed by the expert that is described."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from llava_faba.errors import PriorError
from llava_faba.experts import Picture, PriorExpert, PriorResult
from llava_faba.experts.pictures import whole_picture
from llava_faba.native.shared_experts import shared_expert


class PriorsOfPictures:
    """``facial_prior``: what makes the priors, a dictionary with ``expert``, ``settings`` and ``size``."""

    facial_prior: dict[str, Any] | None

    @property
    def prior_size(self) -> int:
        """Numbers in a facial prior."""
        return int(self._described("size"))

    def compute_facial_priors(self, pictures: Sequence[Any]) -> PriorResult:
        """Priors of pictures (PIL images or uint8 arrays) by the expert that the checkpoint names.

        Raises ExpertError when it is not installed, has no weights, or (``precomputed``) cannot compute.
        """
        return self.facial_prior_expert().extract([_seen(picture) for picture in pictures])

    def facial_prior_expert(self) -> PriorExpert:
        """The expert that ``facial_prior`` names, made on first use and shared within this process."""
        described = self.facial_prior or {}
        return shared_expert(str(self._described("expert")), described.get("settings"), self.prior_size)

    def priors_and_statuses(self, facial_priors: Any, pictures: Sequence[Any]) -> tuple[np.ndarray, list[str]]:
        """float32 (pictures, prior size), raw, and a word for each: "given", or what the expert says of the face.

        ``facial_priors``: those that came with the call, or None.
        """
        if facial_priors is not None:
            return self.checked_priors(facial_priors, len(pictures)), ["given"] * len(pictures)
        result = self.compute_facial_priors(pictures)
        return result.features, [status.value for status in result.statuses]

    def checked_priors(self, facial_priors: Any, images: int) -> np.ndarray:
        """Given priors as float32 (images, prior size). Raises PriorError for another shape or no numbers."""
        if isinstance(facial_priors, torch.Tensor):
            facial_priors = facial_priors.detach().cpu().float().numpy()
        try:
            priors = np.asarray(facial_priors, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise PriorError(f"facial_priors are not numbers in rows: {error}") from error
        if priors.ndim == 1 and images == 1:
            priors = priors[None]
        if priors.shape != (images, self.prior_size):
            raise PriorError(
                f"facial_priors must have the shape (number of images, {self.prior_size}), that is "
                f"({images}, {self.prior_size}) here, got {priors.shape}."
            )
        if not np.isfinite(priors).all():
            raise PriorError("facial_priors hold a number that is not finite.")
        return priors

    def _described(self, key: str) -> Any:
        value = (self.facial_prior or {}).get(key)
        if value is None:
            raise PriorError(
                f"this processor does not know its facial prior's {key}: processor_config.json has no "
                f"facial_prior.{key}; convert the checkpoint again."
            )
        return value


def _seen(picture: Any) -> Picture:
    """A PIL image, or an array in either order of axes, as an expert sees it."""
    if hasattr(picture, "convert"):
        return whole_picture(picture)
    array = picture.cpu().numpy() if isinstance(picture, torch.Tensor) else np.asarray(picture)
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[-1] != 3:
        array = np.moveaxis(array, 0, -1)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3:
        raise PriorError(
            f"a facial prior is computed from uint8 RGB pictures, not from {array.dtype} of shape {array.shape}; give "
            "PIL images, or facial_priors."
        )
    from PIL import Image

    return whole_picture(Image.fromarray(np.ascontiguousarray(array)))
