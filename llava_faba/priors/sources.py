"""Which images to extract: all of a folder, or those that annotation files name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from llava_faba.errors import PriorError, RecordError
from llava_faba.images import MISSING, ImageFolder
from llava_faba.priors.reading import SUFFIXES
from llava_faba.records.reading import read_items_of


def images_in(
    images: Path | None, annotations: Iterable[Path] | None, image_folder: Path | None, *, allow_outside: bool = False
) -> tuple[Path, list[str]]:
    """The image folder, and the images' paths relative to it, each once.

    Either ``images`` (a folder within ``image_folder``, which defaults to it) or ``annotations``.
    Raises PriorError when there is no image, and RecordError for a broken annotation file and for records whose image
    is no regular file inside the image folder, after links, unless ``allow_outside``; a missing one is a row of its
    own.
    """
    if images is None:
        folder = image_folder or Path()
        names = images_of(annotations or ())
        rule = ImageFolder(folder, allow_outside=allow_outside)
        for name in names:
            try:
                rule.check(name)
            except RecordError as error:
                if not str(error).startswith(MISSING):
                    raise
    else:
        folder = image_folder or images
        names = images_below(images)
        if image_folder is not None:
            prefix = relative_to(images, image_folder)
            names = [f"{prefix}{name}" for name in names]
    if not names:
        raise PriorError(
            f"no image below {images}: files count by their suffix, one of {' '.join(SUFFIXES)}."
            if images is not None
            else "the annotation files name no image."
        )
    return folder, names


def images_below(folder: str | Path) -> list[str]:
    """All image files below ``folder`` by their suffix, sorted, as paths relative to it with "/".

    Hidden files and folders (names starting with ".") are left out; links to folders are followed, but not back to
    one that they lie in. Raises PriorError when it is no folder, or when a folder below it cannot be read.
    """
    root = str(folder)
    if not os.path.isdir(root):  # noqa: PTH112 - os.walk and strings: two million Path objects are not free
        raise PriorError(f"{root} is not a folder of images.")
    found = []
    for where, folders, files in os.walk(root, followlinks=True, onerror=_unreadable_folder):
        folders[:] = [name for name in folders if not name.startswith(".") and not _leads_back(root, where, name)]
        below = os.path.relpath(where, root).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        found += [prefix + name for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    return sorted(found)


def _unreadable_folder(error: OSError) -> None:
    raise PriorError(
        f"{error.filename}: this folder cannot be read ({error.strerror}), so its images would be left out."
    ) from error


def _leads_back(root: str, where: str, name: str) -> bool:
    """Whether the folder ``name`` in ``where`` is a link to one that was walked through to get there."""
    link = Path(where, name)
    if not link.is_symlink():
        return False
    target, base, here = Path(os.path.realpath(link)), Path(root), Path(where)
    passed = [here, *(one for one in here.parents if one.is_relative_to(base))]
    return any(one.resolve().is_relative_to(target) for one in passed)


def images_of(annotations: Iterable[Path]) -> list[str]:
    """The images that records name under "image", each once, in their order; see ``records_of``."""
    names: dict[str, None] = {}
    for record in records_of(annotations):
        image = record.get("image")
        if image is not None and (not isinstance(image, str) or not image):
            raise RecordError(f"record {record.get('id', 'without id')}: 'image' is {image!r}, not a path.")
        if image is not None:
            names[image] = None
    return list(names)


def records_of(annotations: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The records of annotation files: a JSON list, or JSON lines.

    Raises RecordError for a broken file, naming the place.
    """
    for path in annotations:
        for position, record in enumerate(read_items_of(path)):
            if not isinstance(record, dict):
                raise RecordError(f"{path}: record {position} is not an object but {type(record).__name__}.")
            yield record


def relative_to(images: Path, image_folder: Path) -> str:
    """What paths below ``images`` start with when they are relative to ``image_folder``: "" or "sub/folder/"."""
    try:
        relative = images.resolve().relative_to(image_folder.resolve())
    except ValueError:
        raise PriorError(f"{images} does not lie below the image folder {image_folder}.") from None
    return "" if relative == Path() else f"{relative.as_posix()}/"
