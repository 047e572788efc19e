"""What a prediction is, and the conversation that is used where none is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

DEFAULT_CONVERSATION = "llava_v1"  # what LLaVA's CLI and evaluation scripts use for v1 checkpoints


@dataclass(frozen=True)
class Prediction:
    """What the model says of a face.

    ``text``: the answer. ``landmarks``: float32 (points, 2 or 3) in pixels of the picture that the model saw, or None
    when there is no face or no landmarks behind the prior. ``status``: "found", "not_found" or "several_faces";
    "no_prior" for a plain LLaVA model. ``face``: with several faces, the box of the one that was read, (left, top,
    right, bottom) in pixels of the picture that was given (where its expert places landmarks). ``named_values``: the
    numbers of its prior that have names (blendshapes, 0 to 1); empty without a face.
    """

    text: str
    landmarks: np.ndarray | None
    status: str
    face: tuple[float, float, float, float] | None = None
    named_values: dict[str, float] = field(default_factory=dict)

    @property
    def about_faces(self) -> str:
        """A sentence about which of several faces was read; empty where there were not several."""
        if self.status != "several_faces":
            return ""
        if self.face is None:
            return "the picture shows several faces; the main one was read"
        left, top, right, bottom = (round(edge) for edge in self.face)
        return f"the picture shows several faces; the one at x {left} to {right}, y {top} to {bottom} was read"


def strongest(named_values: Mapping[str, float], count: int = 6) -> str:
    """The largest of named values in words, for people; empty where there are none above 0.1.

    Names that begin with an underscore stand for nothing in the face.
    """
    shown = sorted((one for one in named_values.items() if one[0][:1] != "_"), key=lambda one: -one[1])
    return ", ".join(f"{name} {value:.2f}" for name, value in shown[:count] if value > 0.1)


def box_around(points: np.ndarray | None) -> tuple[float, float, float, float] | None:
    """(left, top, right, bottom) of landmarks (points, 2 or 3)."""
    if points is None:
        return None
    (left, top), (right, bottom) = points[:, :2].min(axis=0).tolist(), points[:, :2].max(axis=0).tolist()
    return left, top, right, bottom
