"""Pictures and videos with what was read drawn over them: boxes, landmarks, emotion and AUs.

Pictures become PNG files, videos MP4 files with every frame of the original: a frame between two that were looked at
shows what was read at the last one. Sound is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from faba_bench.files.atomic import replacing

from llava_faba.analysis import video
from llava_faba.analysis.detection import FoundRow, FrameRow
from llava_faba.analysis.sources import Source
from llava_faba.analysis.table import Row
from llava_faba.errors import UserError
from llava_faba.images import open_image

_COLOURS = ("#e6550d", "#3182bd", "#31a354", "#756bb1", "#d62728", "#17becf")
_CODECS = ("libx264", "mpeg4")
_TIME_BASE = Fraction(1, 1000)  # MPEG-4 takes no finer one
Drawn = Sequence[tuple[FoundRow, Row]]


def write_overlays(
    sources: Iterable[Source], frames: Sequence[FrameRow], rows: Sequence[Row], out: Path
) -> tuple[list[Path], list[str]]:
    """Write ``out/overlay/NAME`` for each source with a face; returns the files, and a sentence for each that failed.

    ``rows``: one for each face of ``frames``, in the same order, as the table has them.
    """
    by_source: dict[str, list[tuple[FrameRow, Drawn]]] = {}
    left = iter(rows)
    for frame in frames:
        drawn = [(face, next(left)) for face in frame.faces]
        if not drawn:
            next(left)  # the row of a frame without a face
        by_source.setdefault(frame.source, []).append((frame, drawn))
    files, problems = [], []
    for number, source in enumerate(sources, 1):
        found = by_source.get(source.name, [])
        if not any(drawn for _, drawn in found):
            continue
        name = f"{number:05d}-{Path(source.name).stem[:100]}"
        target = out / "overlay" / (name + (".mp4" if source.is_video else ".png"))
        try:
            if source.is_video:
                _write_video(source.path, found, target)
            else:
                with replacing(target) as partial:
                    draw(open_image(source.path, upright=True), found[0][1]).save(partial, format="PNG")
        except UserError as error:
            problems.append(f"{source.name}: no overlay: {error}")
        else:
            files.append(target)
    return files, problems


def draw(image: Any, faces: Drawn) -> Any:
    """A copy of an RGB PIL image with box, landmarks and words of each face."""
    from PIL import ImageDraw, ImageFont

    image = image.convert("RGB")
    canvas = ImageDraw.Draw(image)
    unit = max(1, round(max(image.size) / 400))
    font = _font(ImageFont, unit)
    for face, row in faces:
        colour = _COLOURS[int(row["face"] or 0) % len(_COLOURS)]
        x, y, width, height = face.box
        canvas.rectangle((x, y, x + width, y + height), outline=colour, width=unit)
        for point in face.points or ():
            canvas.ellipse(
                (point[0] - unit / 2, point[1] - unit / 2, point[0] + unit / 2, point[1] + unit / 2), fill=colour
            )
        text = words(row)
        box = canvas.textbbox((0, 0), text, font=font)
        top = y - box[3] - 2 * unit if y > box[3] + 2 * unit else y + height + unit
        left = max(0.0, min(x, image.width - box[2]))
        canvas.rectangle((left, top, left + box[2] + 2 * unit, top + box[3] + unit), fill=colour)
        canvas.text((left + unit, top), text, fill="white", font=font)
    return image


def words(row: Row) -> str:
    """What stands at a face: its number, emotion and AUs, or why there is none."""
    if row["status"] == "too_small":
        return f"{row['face']}: too small"
    aus = " ".join(name for name in row if name.startswith("AU") and name[2:].isdigit() and row[name] == 1)
    said = [str(part) for part in (row["emotion"], aus) if part]
    return f"{row['face']}: " + (", ".join(said) or ("unparsed" if row["unparsed"] else "not asked"))


def _font(fonts: Any, unit: int) -> Any:
    try:
        return fonts.load_default(10 * unit)
    except TypeError:  # Pillow before 10.1 has one size
        return fonts.load_default()


def _write_video(path: Path, found: Sequence[tuple[FrameRow, Drawn]], target: Path) -> None:
    av = video.pyav()
    by_number: Mapping[int | None, Drawn] = {frame.frame: drawn for frame, drawn in found}
    with replacing(target) as partial:
        container = av.open(str(partial), mode="w", format="mp4")
        stream: Any = None
        shown: Drawn = ()
        try:
            with container:
                for frame in video.frames(path, 0):
                    shown = by_number.get(frame.number, shown)
                    picture = draw(frame.image, shown)
                    if stream is None:
                        stream = _stream(av, container, picture.size)
                    coded = av.VideoFrame.from_image(picture.crop((0, 0, stream.width, stream.height)))
                    coded.pts, coded.time_base = round(frame.time / _TIME_BASE), _TIME_BASE
                    container.mux(stream.encode(coded))
                if stream is not None:
                    container.mux(stream.encode())
        except video.BrokenVideo:
            pass  # the frames before the damage are there; the table names it
        except (av.FFmpegError, ValueError) as error:
            raise UserError(f"{path}: its frames cannot be written as MP4: {error}") from error


def _stream(av: Any, container: Any, size: tuple[int, int]) -> Any:
    """A video stream in the first codec that this PyAV has; sides are even, as the codecs want them."""
    for codec in _CODECS:
        try:
            stream = container.add_stream(codec, rate=25)
        except (av.FFmpegError, ValueError):
            continue
        stream.width, stream.height = size[0] // 2 * 2, size[1] // 2 * 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = stream.time_base = _TIME_BASE
        return stream
    raise UserError(f"this PyAV can write none of {', '.join(_CODECS)}")
