"""Files, folders and videos, mixed: what is looked at, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from faba_bench.files.paths import regular_file

from llava_faba.analysis import video
from llava_faba.errors import UserError
from llava_faba.images import readable_formats
from llava_faba.priors.sources import images_below


@dataclass(frozen=True)
class Source:
    """``name``: as the table names it; ``path``: the file; ``is_video``."""

    name: str
    path: Path
    is_video: bool


def find_sources(given: Iterable[str | Path]) -> list[Source]:
    """Every picture and video that is named or lies in a named folder, each path once.

    In folders, files count by their suffix, hidden ones are passed over. A file that is named counts whatever it is
    called: what is no video by its suffix is read as a picture. Raises UserError for a path that is not there, for a
    folder without any picture or video, and when nothing is named.
    """
    found: dict[str, Source] = {}
    for one in given:
        path = Path(one)
        if path.is_dir():
            names = sorted([*images_below(path), *_videos_below(path)])
            if not names:
                raise UserError(f"{path}: holds no picture and no video, by their suffixes.")
            for name in names:
                _add(found, path / name)
        else:
            _add(found, regular_file(path, error=UserError))
    if not found:
        raise UserError("no picture, folder or video was named.")
    return list(found.values())


def _add(found: dict[str, Source], path: Path) -> None:
    is_video = path.suffix.lower() in video.SUFFIXES and not (path.suffix.lower() == ".gif" and _is_still(path))
    found.setdefault(str(path.resolve()), Source(str(path), path, is_video))


def _is_still(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path, formats=readable_formats()) as image:
            return getattr(image, "n_frames", 1) == 1
    except Exception:  # whatever it is, it is read as a picture, which says what is wrong
        return True


def _videos_below(folder: Path) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in video.SUFFIXES
        and path.suffix.lower() != ".gif"
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
