"""Outputs that are whole or not there: a temporary file beside the target, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from faba_bench.files.oserrors import naming

_PARTIAL = re.compile(r"\..{0,60}\.[a-z0-9_]{8}\.partial", re.DOTALL)  # tempfile's names
_swept: set[tuple[str, int]] = set()


@contextlib.contextmanager
def replacing(target: str | Path, *, through_links: bool = True) -> Iterator[Path]:
    """Yield a path to write to; it takes `target`'s place when the block ends, and goes away when the block raises.

    Parent folders are made. The file and its folder are synced, so that a power cut leaves the old or the new file. A
    killed process leaves a hidden ``.NAME.XXXX.partial`` at most, never a half target; the next one that writes into
    that folder removes it. A link is written through, as open() does, or replaced. A device such as ``/dev/null``, a
    pipe that somebody reads, and an open file such as ``/dev/stdout`` stay what they are, and get what was written at
    the end. Raises OSError.
    """
    target = Path(target)
    if (through_links or not target.is_symlink()) and (stream := _stream(target)) is not None:
        with naming(target), contextlib.closing(stream), tempfile.TemporaryDirectory() as folder:
            partial = Path(folder, target.name)
            partial.touch()
            yield partial
            with partial.open("rb") as source:
                shutil.copyfileobj(source, stream)
        return
    if through_links and target.is_symlink():  # links in a circle are told
        with contextlib.suppress(FileNotFoundError):
            target.stat()
        target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    with drafted(target) as partial, naming(target):
        partial.chmod(_mode(target))
        yield partial
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(target)
        sync_folder(target.parent)


def _stream(target: Path) -> IO[bytes] | None:
    """`target` opened for writing where it is no file that another can take the place of; None for all others.

    Raises OSError for a block device, a socket, and a pipe that nobody reads (opening it would wait for ever).
    """
    handle = _own_descriptor(target)
    if handle is not None:
        if handle == 1:
            sys.stdout.flush()
        return os.fdopen(os.dup(handle), "wb")
    try:
        mode = target.stat().st_mode
    except OSError:  # missing, or whatever else the writing itself is told
        return None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        raise OSError(errno.ENOTSUP, "a block device or a socket, which is not written to", str(target))
    try:
        opened = os.open(target, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "a pipe that nobody reads; give a file", str(target)) from None
        raise
    os.set_blocking(opened, True)
    return os.fdopen(opened, "wb")


def _own_descriptor(target: Path) -> int | None:
    """The number of this process's open file that ``/dev/stdout``, ``/dev/fd/N`` and links to them stand for."""
    for _ in range(40):  # as many links as Linux follows
        if not target.is_symlink():
            return None
        if os.path.realpath(target.parent) == f"/proc/{os.getpid()}/fd" and target.name.isdecimal():
            return int(target.name)
        target = Path(target.parent, target.readlink())
    return None


@contextlib.contextmanager
def drafted(target: Path) -> Iterator[Path]:
    """Yield a new empty file beside `target`, which is removed at the end where it is still there.

    It is locked while the block runs, so that `sweep` knows it from one that a killed process left.
    """
    if (key := (str(target.parent.absolute()), os.getpid())) not in _swept:
        _swept.add(key)  # once: a folder may hold a million files
        sweep(target.parent)
    partial, lock = _new(target)
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)
        os.close(lock)


def _new(target: Path) -> tuple[Path, int]:
    while True:
        # A name of the largest length leaves no room for a prefix: take a part of it.
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:60]}.", suffix=".partial", dir=target.parent)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return Path(name), handle
        os.close(handle)  # another process swept it before it was locked


def sweep(folder: str | Path) -> None:
    """Remove what killed processes left half written in `folder`; drafts that somebody is writing are locked."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in [one for one in entries if _PARTIAL.fullmatch(one.name) and one.is_file(follow_symlinks=False)]:
            with contextlib.suppress(OSError):
                _remove_unlocked(Path(entry.path))


def _remove_unlocked(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(handle)


def write_bytes(target: str | Path, data: bytes, *, through_links: bool = True) -> None:
    """Write `data` whole or not at all."""
    with replacing(target, through_links=through_links) as partial:
        partial.write_bytes(data)


def write_text(target: str | Path, text: str) -> None:
    """Write UTF-8 whole or not at all; lone surrogates are written as escapes."""
    write_bytes(target, text.encode("utf-8", "backslashreplace"))


def write_json(target: str | Path, value: Any, *, indent: int | None = 1) -> None:
    """Write JSON so that equal values give equal bytes. Raises ValueError where `value` holds NaN or infinity."""
    with replacing(target) as partial, partial.open("w", encoding="utf-8", errors="backslashreplace") as stream:
        for part in json_parts(value, ensure_ascii=False, indent=indent):
            stream.write(part)
        stream.write("\n")


def json_parts(value: Any, *, ensure_ascii: bool, indent: int | None) -> Iterator[str]:
    """What ``json.dumps`` makes of `value`, in parts: results of a million samples are longer than memory is large.

    Raises ValueError where `value` holds NaN or infinity.
    """
    parts: list[str] = []
    for part in json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, allow_nan=False).iterencode(value):
        parts.append(part)
        if len(parts) >= 1 << 14:
            yield "".join(parts)
            parts.clear()
    yield "".join(parts)


def sync_folder(folder: str | Path) -> None:
    """Make a rename in `folder` durable, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _mode(target: Path) -> int:
    """The permissions that a plain open() would have given, or those of the file that is there."""
    try:
        return target.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
