"""An OSError as one sentence: what, where, what to do."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from os import PathLike

_WHAT_TO_DO = {
    errno.ENOSPC: "the disk is full: free some space, or write to another folder",
    errno.EDQUOT: "the disk quota is used up: free some space, or write to another folder",
    errno.EROFS: "the file system is read-only: write to another folder",
    errno.EACCES: "permission denied: check who owns it",
    errno.EPERM: "not permitted: check who owns it",
    errno.ENAMETOOLONG: "the name is too long for this file system: choose a shorter one",
    errno.ENOENT: "no such file or folder: check the path",
    errno.ENOTDIR: "a part of the path is a file, not a folder: check the path",
    errno.EISDIR: "is a folder, a file was expected",
    errno.EEXIST: "exists already",
    errno.ELOOP: "too many symbolic links: they lead in a circle",
    errno.EMFILE: "too many open files: raise 'ulimit -n', or use fewer workers",
    errno.EIO: "the disk reported an error",
    errno.EADDRINUSE: "the port is in use: choose another one, or end the program that holds it",
}


@contextlib.contextmanager
def naming(path: str | PathLike[str]) -> Iterator[None]:
    """While inside, an OSError that names no file gets `path`: one of a write to an open file has none."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def sentence(error: OSError) -> str:
    """``"PATH: what happened, what to do"`` for any OSError; the path is left out where the error has none."""
    what = _WHAT_TO_DO.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
    names = [_text(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' -> '.join(names)}: {what}" if names else what


def _text(name: object) -> str:
    from faba_bench.files.terminal import printable

    raw = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
    return printable(raw if len(raw) <= 300 else f"{raw[:300]}... ({len(raw)} characters)")
