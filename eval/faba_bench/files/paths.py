"""Names from outside: do they stay in their folder, and is what they name a regular file?"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from faba_bench.files.problem import FileProblem
from faba_bench.files.terminal import printable

IMAGE_LIMIT = 256 << 20
"""The largest image file that is opened, in bytes."""
PIXEL_LIMIT = 120_000_000
"""The largest image that is decoded, in pixels: 360 MB in RGB."""


def inside(
    folder: str | Path,
    name: object,
    *,
    allow_outside: bool = False,
    error: type[Exception] = FileProblem,
) -> Path:
    """The path of `name` in `folder`, when it is relative and stays inside after links; the file need not exist.

    `allow_outside` takes absolute paths, ``..`` and links that lead out, for those who mean it. Raises `error` for
    anything else: no text, empty, NUL, absolute, ``..``, a link that leads out or in a circle.
    """
    if not isinstance(name, str | os.PathLike) or not (text := os.fspath(name)):
        raise error(f"{printable(repr(name))[:200]} is not a path")
    shown = printable(str(text))[:300]
    if "\0" in str(text):
        raise error(f"{shown}: a path cannot hold a NUL character")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise error(f"{shown}: half of a character (a lone surrogate), which no file name can hold") from None
    path = Path(folder, text)
    if allow_outside:
        return path
    if Path(text).is_absolute():
        raise error(f"{shown}: an absolute path; give paths relative to {folder}, or allow it with --allow-outside")
    try:
        root = Path(folder).resolve()
        resolved = path.resolve()
        _refuse_circle(path)
    except (OSError, RuntimeError) as reason:  # a circle of links; RuntimeError before Python 3.13
        raise error(f"{shown}: cannot be followed: {reason}") from reason
    if ".." in Path(text).parts or not resolved.is_relative_to(root):
        raise error(f"{shown}: leads out of {folder}; move the file into it, or allow it with --allow-outside")
    return path


def _refuse_circle(path: Path) -> None:
    """OSError for links in a circle, which resolve() of Python 3.13 hands back as if they led somewhere."""
    try:
        path.stat()
    except OSError as reason:
        if reason.errno == errno.ELOOP:
            raise


def regular_file(path: str | Path, *, limit: int | None = None, error: type[Exception] = FileProblem) -> Path:
    """`path`, when it is a regular file (after links) of at most `limit` bytes.

    Raises `error` for a missing file, a folder, a device, a pipe, a socket, or a larger file: none is opened.
    """
    path = Path(path)
    try:
        status = path.stat()
    except (OSError, ValueError) as reason:
        text = reason.strerror if isinstance(reason, OSError) else str(reason)
        raise error(f"{printable(str(path))[:300]}: {text}") from reason
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{printable(str(path))}: {_kind(status.st_mode)}, not a regular file")
    if limit is not None and status.st_size > limit:
        raise error(f"{printable(str(path))}: {status.st_size} bytes, more than the limit of {limit}")
    return path


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
