"""Content digests of files and folders. A file is hashed again only where its size, times or inode have changed."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from faba_bench.files.digests import sha256_file, sha256_json
from faba_bench.files.jsonfiles import read_object
from faba_bench.files.terminal import printable

from llava_faba.recipe.errors import RecipeError

_FRESH_NS = 2_000_000_000
"""A file that changed less than this ago may change again without its times telling: its hash is not remembered."""


class Digests:
    """Digests, remembered in one file. ``leave_out``: a folder that is passed over inside others (the recipe's
    root)."""

    def __init__(self, memory: Path, leave_out: Path) -> None:
        self._memory, self._leave_out = memory, Path(os.path.realpath(leave_out))
        self._known: dict[str, list[object]] = {}
        self._dirty = False
        if memory.exists():
            with contextlib.suppress(RecipeError):  # a memory that is lost costs time, nothing else
                self._known = read_object(memory, error=RecipeError)

    def of(self, path: str) -> str | None:
        """The digest of a file, or of a folder's names and files; None when nothing is there.

        Raises RecipeError for a device or a pipe, OSError for what cannot be read.
        """
        try:
            status = Path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISDIR(status.st_mode):
            return sha256_json([[name, self._file(file)] for name, file in self._files(Path(path))])
        return self._file(path)

    def save(self) -> None:
        """Write the memory, when something was added."""
        if self._dirty:
            from faba_bench.files.atomic import write_json

            write_json(self._memory, self._known, indent=None)
            self._dirty = False

    def _file(self, path: str) -> str:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise RecipeError(f"{printable(path)}: neither a file nor a folder; a recipe cannot take it as an input")
        seen: list[object] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._known.get(path)
        if isinstance(known, list) and known[1:] == seen:
            return str(known[0])
        digest = sha256_file(path)
        if time.time_ns() - status.st_ctime_ns > _FRESH_NS:
            self._known[path] = [digest, *seen]
            self._dirty = True
        return digest

    def _files(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Name below ``folder`` and path of each file, in the order of names; links are followed, each folder once."""
        inside = Path(os.path.realpath(folder)).is_relative_to(self._leave_out)
        seen: set[tuple[int, int]] = set()
        for here, folders, files in os.walk(folder, followlinks=True):
            status = Path(here).stat()
            if (status.st_dev, status.st_ino) in seen or (
                not inside and os.path.realpath(here) == str(self._leave_out)
            ):
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders.sort()
            for name in sorted(files):
                path = f"{here}/{name}"
                yield os.path.relpath(path, folder), path
