"""Which .npy file is which image's: one file an image, one image a file, or an error that names both."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from faba_bench.files.digests import sha256_file
from faba_bench.files.paths import inside

from llava_faba.errors import PriorError, RecordError
from llava_faba.priors.sources import images_below, records_of, relative_to

_ARRAYS = (".npy", ".npz", ".npy.gz", ".pt", ".pth", ".txt", ".csv", ".json")
"""Suffixes of files that may hold landmarks. Only .npy is read; the others are named, for a silent choice is wrong."""


@dataclass(frozen=True)
class Pairs:
    """(image, .npy file), relative to the image folder, each image once; the images ``without`` a file, and the files
    that no image has (``unused``)."""

    pairs: list[tuple[str, str]]
    without: list[str]
    unused: list[str] = field(default_factory=list)


def pairs_of_annotations(
    annotations: Iterable[Path], image_folder: Path | None = None, *, allow_outside: bool = False
) -> Pairs:
    """What records name under "image" and "landmark"; with an ``image_folder``, files inside it, unless
    ``allow_outside``.

    Raises PriorError when two records name one image with two files, or two images with one file, however they spell
    them (pictures and files of equal content count as one), and RecordError for a "landmark" that is no path.
    """
    pairs: dict[str, str] = {}
    images: dict[str, None] = {}
    for record in records_of(annotations):
        image, landmark = record.get("image"), record.get("landmark")
        if not image:
            continue
        if not isinstance(image, str) or not isinstance(landmark, str | None):
            raise RecordError(f"record {record.get('id', 'without id')}: 'image' or 'landmark' is not a path.")
        images[image] = None
        if landmark:
            if image_folder is not None:  # files are read there; where they are written has a check of its own
                inside(image_folder, landmark, allow_outside=allow_outside, error=PriorError)
            other = pairs.setdefault(image, landmark)
            _check_same(f"image '{image}'", other, landmark, "files", image_folder)
    by_image: dict[str, tuple[str, str]] = {}
    by_file: dict[str, str] = {}
    for image, landmark in pairs.items():
        _, other = by_image.setdefault(_place(image, image_folder), (image, landmark))
        _check_same(f"image '{image}'", other, landmark, "files", image_folder)
        first = by_file.setdefault(_place(landmark, image_folder), image)
        _check_same(f"file '{landmark}'", first, image, "images", image_folder)
    return Pairs(list(pairs.items()), [image for image in images if image not in pairs])


def pairs_of_folders(images: Path, npy: Path, image_folder: Path) -> Pairs:
    """Images below one folder and equally named .npy files below another: ``a.npy`` or ``a.jpg.npy`` for ``a.jpg``.

    Raises PriorError where a name leaves it open: two images or two files of one stem (``a.jpg`` and ``a.png``;
    ``a.npy``, ``a.NPY`` and ``a.npz``), or a stem in two Unicode spellings; and for a file that is no .npy file.
    """
    prefix = relative_to(images, image_folder)
    names = images_below(images)
    files = _files_below(npy)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_stem[_stem(name)].append(name)
    pairs, without, used, problems = [], [], set(), []
    for name in names:
        own, shared = files.get(_spelling(name), []), files.get(_stem(name), [])
        if len(found := own + shared) > 1:
            problems.append(f"image '{name}' has the files {_listed(found)}")
        elif not own and shared and len(by_stem[_stem(name)]) > 1:
            problems.append(f"file '{shared[0]}' may be of each of the images {_listed(by_stem[_stem(name)])}")
        elif found and not found[0].lower().endswith(".npy"):
            problems.append(f"image '{name}' has the file '{found[0]}', which is no .npy file")
        elif found:
            pairs.append((prefix + name, str((npy / found[0]).absolute())))
        else:
            without.append(prefix + name)
        used.update(found)
    if problems:
        shown = "\n  ".join(dict.fromkeys(problems[:20]))
        raise PriorError(
            f"{len(problems)} images below {images} do not have one .npy file of their own below {npy}:\n  {shown}\n"
            "Rename the files (a.jpg.npy for a.jpg), or name them in annotations under 'landmark'."
        )
    unused = [file for same in files.values() for file in same if file not in used]
    return Pairs(pairs, without, sorted(unused))


def _files_below(folder: Path) -> Mapping[str, list[str]]:
    """Files that may hold landmarks, by their path without that suffix."""
    if not folder.is_dir():
        raise PriorError(f"{folder} is not a folder of .npy files.")
    found: dict[str, list[str]] = defaultdict(list)
    for name in _walk(folder):
        suffix = next((suffix for suffix in _ARRAYS if name.lower().endswith(suffix)), None)
        if suffix is not None:
            found[_spelling(name[: -len(suffix)])].append(name)
    return {stem: sorted(names) for stem, names in found.items()}


def _walk(folder: Path) -> Iterator[str]:
    for where, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not os.path.realpath(where).startswith(os.path.realpath(Path(where, name)))
        ]
        below = os.path.relpath(where, folder).replace(os.sep, "/")
        yield from (name if below == "." else f"{below}/{name}" for name in files if not name.startswith("."))


def _stem(name: str) -> str:
    return _spelling(posixpath.splitext(name)[0])


def _spelling(name: str) -> str:
    """One spelling of a name: file systems and archives write accents in two ways."""
    return unicodedata.normalize("NFC", name)


def _place(name: str, folder: Path | None) -> str:
    """One spelling of a path: ``a``, ``./a`` and ``d/../a`` are one, and so is a link where it can be followed."""
    return posixpath.normpath(_spelling(name)) if folder is None else os.path.realpath(folder / name)


def _check_same(whose: str, one: str, other: str, what: str, folder: Path | None) -> None:
    if one == other or _place(one, folder) == _place(other, folder):
        return
    if folder is not None:
        try:
            if sha256_file(folder / one) == sha256_file(folder / other):
                return
        except OSError:  # what is missing is said when it is read
            pass
    raise PriorError(
        f"{whose} is named with two {what}, '{one}' and '{other}': a prior belongs to one picture. Fix the records."
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
