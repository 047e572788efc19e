"""Outputs that are whole or not there: a temporary file beside the target, fsync, rename."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faba_bench.files.oserrors import naming


@contextlib.contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """Yield a path to write to; it takes `target`'s place when the block ends, and goes away when the block raises.

    Parent folders are made. The file and its folder are synced, so that a power cut leaves the old or the new file. A
    killed process leaves a hidden ``.NAME.XXXX.partial`` at most, never a half target. Raises OSError.
    """
    target = Path(target)
    if target.is_symlink():  # written through, as open() does; links in a circle are told
        with contextlib.suppress(FileNotFoundError):
            target.stat()
        target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name of the largest length leaves no room for a prefix: take a part of it.
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:60]}.", suffix=".partial", dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        with naming(target):
            partial.chmod(_mode(target))
            yield partial
            with partial.open("rb") as stream:
                os.fsync(stream.fileno())
            partial.replace(target)
            sync_folder(target.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_bytes(target: str | Path, data: bytes) -> None:
    """Write `data` whole or not at all."""
    with replacing(target) as partial:
        partial.write_bytes(data)


def write_text(target: str | Path, text: str) -> None:
    """Write UTF-8 whole or not at all; lone surrogates are written as escapes."""
    write_bytes(target, text.encode("utf-8", "backslashreplace"))


def write_json(target: str | Path, value: Any, *, indent: int | None = 1) -> None:
    """Write JSON so that equal values give equal bytes. Raises ValueError where `value` holds NaN or infinity."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    write_text(target, text + "\n")


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
