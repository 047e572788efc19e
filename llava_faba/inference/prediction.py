"""What a prediction is, and the conversation that is used where none is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DEFAULT_CONVERSATION = "llava_v1"  # what LLaVA's CLI and evaluation scripts use for v1 checkpoints


@dataclass(frozen=True)
class Prediction:
    """What the model says of a face.

    ``text``: the answer. ``landmarks``: float32 (points, 2 or 3) in pixels of the picture that the model saw, or None
    when there is no face or no landmarks behind the prior. ``status``: "found", "not_found" or "several_faces";
    "no_prior" for a plain LLaVA model.
    """

    text: str
    landmarks: np.ndarray | None
    status: str
