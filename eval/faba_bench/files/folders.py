"""Folders that are whole or not there: a draft beside the target, synced, and renamed when it is complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from faba_bench.files.atomic import sync_folder
from faba_bench.files.oserrors import naming
from faba_bench.files.problem import FileProblem
from faba_bench.files.terminal import printable

_SUFFIX = ".draft"
_SMALLEST = 1 << 14  # bytes; with less no weights are written
# Waits for the end of its input, which comes when the process that writes the draft ends, however it ends.
_GUARD = "import shutil, sys; sys.stdin.buffer.read(); shutil.rmtree(sys.argv[1], ignore_errors=True)"


@contextlib.contextmanager
def new_folder(target: str | Path, *, error: type[Exception] = FileProblem) -> Iterator[Path]:
    """Yield an empty folder to write into; it takes `target`'s place when the block ends.

    When the block raises, or the process is killed, neither `target` nor the draft is left: a small process beside this
    one removes the draft of a process that ends without doing so. Should that be killed too, the next run removes it.
    Raises `error` when `target` is there and not an empty folder; OSError.
    """
    target = Path(target)
    check_new(target, error=error)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name[:60]}."
    _sweep(target.parent, prefix)
    draft = target.parent / f"{prefix}{secrets.token_hex(6)}{_SUFFIX}"
    with _guarded(draft):  # before it is there
        draft.mkdir()
        handle = os.open(draft, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # tells others that this draft is being written
            with naming(target):
                yield draft
                _sync(draft)
            _take_place(draft, target, error)
            sync_folder(target.parent)
        except Exception as reason:
            full = not isinstance(reason, OSError) and _is_full(draft, reason)
            shutil.rmtree(draft, ignore_errors=True)
            if full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from reason
            raise
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        finally:
            os.close(handle)


def _is_full(draft: Path, reason: Exception) -> bool:
    """Whether a library's own exception means a full disk: torch and safetensors have kinds of their own for it."""
    if os.strerror(errno.ENOSPC) in str(reason):
        return True
    try:
        return shutil.disk_usage(draft).free < _SMALLEST
    except OSError:
        return False


def check_new(target: Path, *, error: type[Exception] = FileProblem) -> None:
    """Raise `error` when `target` is a file, or a folder that is not empty."""
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise error(f"{printable(str(target))} exists already; give a new folder.")


@contextlib.contextmanager
def _guarded(draft: Path) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, str(draft)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a signal to the whole group must not end it
    ) as guard:
        try:
            yield
        finally:
            if guard.stdin is not None:
                with contextlib.suppress(OSError):
                    guard.stdin.close()


def _take_place(draft: Path, target: Path, error: type[Exception]) -> None:
    try:
        draft.rename(target)
    except OSError as reason:
        if reason.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        raise error(f"{printable(str(target))} was written by another process meanwhile; give a new folder.") from None


def _sweep(parent: Path, prefix: str) -> None:
    """Remove drafts of this target that nobody writes any more."""
    for draft in parent.glob(f"{_escaped(prefix)}*{_SUFFIX}"):
        try:
            handle = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(draft, ignore_errors=True)
        except OSError:
            pass
        finally:
            os.close(handle)


def _escaped(name: str) -> str:
    return glob.escape(name)


def _sync(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            handle = os.open(Path(place, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(place)
