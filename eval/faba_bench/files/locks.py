"""One process at a time in one folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from faba_bench.files.oserrors import naming
from faba_bench.files.problem import FileProblem


@contextlib.contextmanager
def exclusive(path: str | Path, what: str, *, error: type[Exception] = FileProblem) -> Iterator[None]:
    """Hold the lock file `path` (made if need be) while the block runs.

    `what` says what is going on, for the message that others get: "an extraction into priors/". The kernel lets
    go of the lock when the process ends, however it ends; the file stays and holds the last holder's process id. Raises
    `error` when another process holds it, naming that process.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as busy:
            holder = os.read(handle, 32).decode("ascii", "replace").strip()
            process = f" (process {holder})" if holder.isdecimal() else ""
            raise error(
                f"{path}: {what} is under way in another process{process}: wait for its end, or end it"
            ) from busy
        with naming(path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
