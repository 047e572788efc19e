"""Frames of a video with their times, upright; needs PyAV (extra ``[analyze]``)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_faba.errors import UserError
from llava_faba.packages import install_command

SUFFIXES = (
    ".mp4",
    ".mov",
    ".avi",
    ".mkv",
    ".webm",
    ".m4v",
    ".mpg",
    ".mpeg",
    ".wmv",
    ".flv",
    ".3gp",
    ".ts",
    ".ogv",
    ".gif",
)
_NEARLY = 1e-6
# FFmpeg tells a format by the content, whatever the name: a playlist (HLS, DASH, concat, SDP) would open what it lists.
_CONTAINERS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpeg,mpegvideo,mpegts,asf,flv,ogg,gif,m4v",
}
PIXEL_LIMIT = 1 << 27
"""The largest frame that is decoded: 134 million pixels, 8K four times."""


@dataclass(frozen=True)
class VideoFrame:
    """``number``: its place in the video, from 0; ``time``: seconds from the first frame; ``image``: RGB PIL image."""

    number: int
    time: float
    image: Any


class BrokenVideo(UserError):
    """A video whose stream ends in the middle; the frames before were given."""


def frames(path: Path, every: float) -> Iterator[VideoFrame]:
    """The first frame, and each one that lies ``every`` seconds or more behind the last one given (0: all frames).

    Times come from the stream, so variable frame rates are right; a picture that a phone marks as turned is turned.
    Raises UserError when the file cannot be opened or has no video stream, BrokenVideo behind the last whole frame
    when its end is damaged.
    """
    av = pyav()
    try:
        container = av.open(str(path), mode="r", metadata_errors="replace", options=_CONTAINERS)
    except (OSError, ValueError, av.FFmpegError) as error:
        raise UserError(f"{path}: not a video that can be read: {error}") from error
    with container:
        if not container.streams.video:
            raise UserError(f"{path}: holds no video stream.")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if (stream.codec_context.width or 0) * (stream.codec_context.height or 0) > PIXEL_LIMIT:
            raise UserError(f"{path}: frames of more than {PIXEL_LIMIT} pixels: scale the video down.")
        first: float | None = None
        due = -math.inf
        number = -1
        try:
            for frame in container.decode(stream):
                number += 1
                time = _seconds(frame, stream, number)
                first = time if first is None else first
                time -= first
                if time + _NEARLY < due:
                    continue
                # On a grid, so that rounding of times does not add up.
                due = (math.floor(time / every + _NEARLY) + 1) * every if every > 0 else -math.inf
                yield VideoFrame(number, round(time, 6), _upright(frame))
        except av.FFmpegError as error:
            raise BrokenVideo(f"{path}: damaged behind frame {number}: {error}") from error
        if number < 0:
            raise UserError(f"{path}: its video stream holds no frame that can be decoded.")


def _seconds(frame: Any, stream: Any, number: int) -> float:
    if frame.time is not None:
        return float(frame.time)
    rate = stream.average_rate or stream.guessed_rate or 25
    return float(number / rate)


def _upright(frame: Any) -> Any:
    from PIL import Image

    image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    turn = int(getattr(frame, "rotation", 0) or 0) % 360  # counterclockwise, as PIL counts
    return image.rotate(turn, expand=True) if turn else image


def pyav() -> Any:
    """The module ``av``. Raises UserError where it does not import."""
    try:
        import av
    except ImportError as error:
        raise UserError(
            f"videos need PyAV, which does not import here ({error}): {install_command('analyze')}"
        ) from error
    av.logging.set_level(av.logging.PANIC)  # what matters arrives as an exception
    return av
