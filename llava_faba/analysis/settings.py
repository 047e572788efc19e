"""What an analysis is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llava_faba.errors import UserError, nearest

FACES = ("all", "largest")


@dataclass(frozen=True)
class AnalyzeSettings:
    """How faces are found and cut out, and what is asked about them.

    ``finder``: the expert that finds faces and places their landmarks (default: the first of mediapipe-478 and dlib-68
    that works here), ``finder_settings`` its settings. ``faces``: "all" or "largest". ``size``: side of a crop in
    pixels. ``every``: seconds between the frames of a video that are looked at; 0 takes every frame. ``peak``: ask
    about a tracked face's frame of strongest expression only. ``tasks``: "au", "emotion" or both. ``protocol``: whose
    AUs and classes the table has. ``smallest``: faces whose box is narrower, in pixels, are listed as "too_small" and
    not asked about. ``overlay``: also draw what was read over pictures and videos.
    Raises UserError for values that cannot be.
    """

    finder: str | None = None
    finder_settings: dict[str, Any] = field(default_factory=dict)
    faces: str = "all"
    size: int = 336
    every: float = 0.5
    peak: bool = False
    tasks: tuple[str, ...] = ("au", "emotion")
    protocol: str = "faba"
    smallest: int = 24
    overlay: bool = False

    def __post_init__(self) -> None:
        if self.faces not in FACES:
            raise UserError(
                f"--faces must be one of {', '.join(FACES)}, not '{self.faces}'.{nearest(self.faces, FACES)}"
            )
        if not 1 <= self.size <= 4096:
            raise UserError(f"the size of a crop must lie between 1 and 4096 pixels, not {self.size}.")
        if not 0 <= self.every < float("inf"):
            raise UserError(f"--every must be 0 or more seconds, not {self.every}.")
        unknown = [task for task in self.tasks if task not in ("au", "emotion")]
        if unknown or not self.tasks:
            raise UserError(f"tasks are 'au' and 'emotion', not {', '.join(unknown) or 'none'}.")

    def detection_parts(self) -> dict[str, Any]:
        """What a crop depends on besides its frame."""
        return {
            "finder": self.finder,
            "finder_settings": self.finder_settings,
            "faces": self.faces,
            "size": self.size,
            "smallest": self.smallest,
        }
