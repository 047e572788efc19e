"""Lock files that a killed compilation left behind.

torch compiles DeepSpeed's operations under a lock file and waits for it without end (torch.utils.file_baton). A
process that is killed meanwhile, as in the first minute of a first run, leaves the file, and every later run hangs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def remove_stale_locks(root: Path | None = None) -> list[Path]:
    """Remove the lock files of torch's folder of compiled extensions that no process has open; returns them.

    The one who compiles keeps its lock file open. ``root``: the folder, by default the one that torch uses. Where
    there is no /proc to see open files in, nothing is removed.
    """
    if root is None:
        root = _extensions_folder()
    removed = []
    for lock in (*root.glob("*/lock"), *root.glob("*/*/lock")):
        seen = _identity(lock)
        if seen is None or not Path("/proc/self/fd").is_dir() or seen[:2] in set(_open_files()):
            continue
        if _identity(lock) == seen:  # and not a new one that another process has made since
            lock.unlink(missing_ok=True)
            removed.append(lock)
    return removed


def _extensions_folder() -> Path:
    from torch.utils.cpp_extension import get_default_build_root

    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns


def _open_files() -> Iterator[tuple[int, int]]:
    """Device and inode of every file that a process, of those that may be looked at, has open."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            entries = list((process / "fd").iterdir())
        except OSError:  # gone, or somebody else's
            continue
        for entry in entries:
            identity = _identity(entry)
            if identity is not None:
                yield identity[:2]
