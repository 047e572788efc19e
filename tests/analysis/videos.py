"""Videos that the tests make with PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np


def write_video(path: Path, frames: Sequence[np.ndarray], times: Sequence[float], *, turn: int = 0) -> Path:
    """Frames uint8 (h, w, 3) at ``times`` (seconds) as MPEG-4; ``turn``: degrees that a player turns them by."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        stream.bit_rate = 4_000_000
        if turn:
            stream.set_display_rotation(turn)
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
