"""Finding a dataset's images: by name and by frame number, past what operating systems and tools leave beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from llava_faba.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_LITTER = {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
_SHOWN = 3


def is_litter(path: Path) -> bool:
    """Hidden files (also macOS's ``._name`` beside each file) and what systems put into folders."""
    return path.name.startswith(".") or path.name.lower() in _LITTER


def visible(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, without hidden files."""
    return sorted(path for path in folder.iterdir() if not is_litter(path))


def find_file(folder: Path, name: str) -> Path | None:
    """The file ``name`` in ``folder``, also when it is written in capitals or not; None when there is none.

    Raises ``UserError`` when several differ from ``name`` in nothing else.
    """
    if (folder / name).is_file():
        return folder / name
    if not folder.is_dir():
        return None
    alike = [path for path in visible(folder) if path.name.lower() == name.lower() and path.is_file()]
    if len(alike) > 1:
        raise UserError(f"{folder}: {alike[0].name} and {alike[1].name}: which one is {name}?")
    return alike[0] if alike else None


@dataclass
class Census:
    """What was found beside the images that were asked for; said in the summary, so that nothing vanishes unseen."""

    hidden: int = 0
    unread: Counter[str] = field(default_factory=Counter)
    unnumbered: list[str] = field(default_factory=list)
    unlabelled: int = 0
    _examples: dict[str, str] = field(default_factory=dict)

    def images(self, folder: Path, recursive: bool = False) -> Iterator[Path]:
        """The images in ``folder``, sorted; counts everything else."""
        for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
            if is_litter(path) or (recursive and any(is_litter(Path(part)) for part in path.relative_to(folder).parts)):
                self.hidden += 1
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                if path.is_file():
                    yield path
            elif path.is_file():
                self.other(path)

    def other(self, path: Path) -> None:
        """A file that nobody reads."""
        suffix = path.suffix.lower() or "no suffix"
        self.unread[suffix] += 1
        self._examples.setdefault(suffix, path.name)

    def beside(self, used: Iterable[Path], others: str = r"(?!)") -> None:
        """Count the files that lie beside label files and are not among ``used``: a copy, an older version.

        ``others``: pattern of the names, in small letters, of files that the dataset has there and nobody reads.
        """
        used = list(used)
        for folder in sorted({path.parent for path in used}):
            for path in visible(folder):
                if path in used or path.suffix.lower() in IMAGE_SUFFIXES or re.fullmatch(others, path.name.lower()):
                    continue
                if path.is_file():
                    self.other(path)

    def notes(self) -> list[str]:
        said = []
        if self.hidden:
            said.append(f"{self.hidden} hidden files were passed over")
        if self.unread:
            kinds = ", ".join(f"{n} {suffix} (such as {self._examples[suffix]})" for suffix, n in self.unread.items())
            said.append(f"files with suffixes that are not read: {kinds}")
        if self.unnumbered:
            more = f" and {len(self.unnumbered) - 20} more" if len(self.unnumbered) > 20 else ""
            said.append(
                f"{len(self.unnumbered)} images are no numbered frames and were not used: "
                f"{', '.join(self.unnumbered[:20])}{more}"
            )
        if self.unlabelled:
            said.append(f"{self.unlabelled} images have no row in the label files")
        return said


class _Numbered(NamedTuple):
    path: Path
    digits: tuple[str, ...]


def numbered_images(folder: Path, census: Census) -> dict[int, Path]:
    """The frames in ``folder`` by number, so that ``0032.jpg``, ``32.jpg`` and ``x_00032.png`` agree.

    Frames are named alike except for one number. Images that are named otherwise (``average_0.png`` among
    ``00001.png``) are not used and noted in ``census``. Raises ``UserError`` when there are too many of those to tell,
    or when a number occurs twice.
    """
    groups: dict[str, list[_Numbered]] = {}
    for path in census.images(folder):
        digits = tuple(re.findall(r"[0-9]+", path.stem))
        groups.setdefault(re.sub(r"[0-9]+", "#", path.stem).lower(), []).append(_Numbered(path, digits))
    groups, nameless = {name: own for name, own in groups.items() if "#" in name}, groups
    ranked = sorted(groups.values(), key=len, reverse=True)
    frames = ranked[0] if ranked else []
    if len(ranked) > 1 and len(ranked[1]) * 2 > len(frames):
        one, other = ranked[0], ranked[1]
        raise UserError(
            f"{folder} holds {len(one)} images such as {one[0].path.name} and {len(other)} such as "
            f"{other[0].path.name}: which are the frames? Move the others away"
        )
    chosen = {own.path for own in frames}
    for own in nameless.values():
        census.unnumbered += [f"{folder.name}/{one.path.name}" for one in own if one.path not in chosen]
    return _by_number(folder, frames)


def _by_number(folder: Path, frames: list[_Numbered]) -> dict[int, Path]:
    if not frames:
        return {}
    places = range(len(frames[0].digits))
    # A face detector's 00001_0.jpg, 00002_0.jpg: the frame's number is the one that changes.
    changing = [place for place in places if len({int(one.digits[place]) for one in frames}) > 1] or list(places)
    found: dict[int, Path] = {}
    for one in frames:
        number = int(one.digits[changing[-1]])
        if number in found:
            raise UserError(f"frame {number} of {folder} exists twice: {found[number].name} and {one.path.name}")
        found[number] = one.path
    return found


class Gallery:
    """Images of a folder by name, also where a suffix is in capitals or another one (crops saved as PNG)."""

    def __init__(self, folder: Path, census: Census, recursive: bool = False) -> None:
        self.folder, self._census = folder, census
        self._names: dict[str, list[Path]] = {}
        self._stems: dict[str, list[Path]] = {}
        self._asked: set[Path] = set()
        self._count = 0
        for path in census.images(folder, recursive):
            self._count += 1
            self._names.setdefault(path.name.lower(), []).append(path)
            self._stems.setdefault(path.stem.lower(), []).append(path)

    def find(self, *names: str) -> Path | None:
        """The image called as the first of ``names`` that is there. Raises ``UserError`` when several are."""
        for table, key in (
            (self._names, lambda name: name.lower()),
            (self._stems, lambda name: Path(name).stem.lower()),
        ):
            for name in names:
                found = table.get(key(name), [])
                exact = [path for path in found if path.name == name] or found
                if len(exact) > 1:
                    raise UserError(f"which image is {name}? {exact[0]} or {exact[1]}: move one of them away")
                if exact:
                    self._asked.add(exact[0])
                    return exact[0]
        return None

    def count_unlabelled(self) -> None:
        """Call this when all rows are read."""
        self._census.unlabelled += self._count - len(self._asked)


def unlabelled_frames(frames: dict[int, Path], labelled: Iterable[int], census: Census) -> None:
    """Count the frames without a label."""
    census.unlabelled += len(set(frames) - set(labelled))
