"""Which faces of a video's frames are one person: boxes matched from frame to frame by their overlap.

The Hungarian method on intersection over union, as in SORT (Bewley et al. 2016, arXiv 1602.00763) without its motion
model; a track that is not seen for a while ends, and a face that comes back later gets a new number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_OVERLAP = 0.2
_PATIENCE = 2.0  # seconds, and at least three frames

Box = tuple[float, float, float, float]


class Tracker:
    """Gives each face of one frame after another the number of its track, from 0."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[Box, float, int]] = {}  # track: box, time, frame count
        self._next = 0
        self._frames = 0

    def __call__(self, boxes: Sequence[Box], time: float) -> list[int]:
        """Track numbers of ``boxes`` (x, y, width, height) in the frame at ``time`` (seconds)."""
        from scipy.optimize import linear_sum_assignment

        self._frames += 1
        self._last = {
            track: last
            for track, last in self._last.items()
            if time - last[1] <= _PATIENCE or self._frames - last[2] <= 3
        }
        tracks = list(self._last)
        overlaps = np.array([[overlap(self._last[track][0], box) for box in boxes] for track in tracks])
        numbers: dict[int, int] = {}
        if tracks and boxes:
            for row, column in zip(*linear_sum_assignment(-overlaps), strict=True):
                if overlaps[row, column] >= _OVERLAP:
                    numbers[int(column)] = tracks[int(row)]
        made = []
        for at in range(len(boxes)):
            if at not in numbers:
                numbers[at], self._next = self._next, self._next + 1
            made.append(numbers[at])
        self._remember(boxes, made, time)
        return made

    def restore(self, boxes: Sequence[Box], numbers: Sequence[int], time: float) -> None:
        """Take over a frame whose numbers are known from an earlier, interrupted call."""
        self._frames += 1
        self._next = max([self._next, *(number + 1 for number in numbers)])
        self._remember(boxes, numbers, time)

    def _remember(self, boxes: Sequence[Box], numbers: Sequence[int], time: float) -> None:
        for box, number in zip(boxes, numbers, strict=True):
            self._last[number] = (box, time, self._frames)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0 to 1."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    shared = wide * high
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)
