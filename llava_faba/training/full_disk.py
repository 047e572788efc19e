"""A checkpoint that finds no room: torch, safetensors and Python each say so in words of their own, if at all."""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from llava_faba.errors import UserError
from llava_faba.training.resume import last_checkpoint

_FULL = (errno.ENOSPC, errno.EDQUOT)
_TOLD = ("no space left", "storagefull", "disk quota exceeded", "(os error 28)", "(os error 122)")
_TORCH = ("inline_container", "iostream error", "pytorchstreamwriter failed writing")  # it does not say why
_LITTLE = 64 * 1024 * 1024


@contextlib.contextmanager
def saying_full_disk(output_dir: str | None) -> Iterator[None]:
    """Turn a failed write into a UserError that says where there is no room, and what to go on from."""
    try:
        yield
    except Exception as error:
        if output_dir is None or not _is_failed_write(error):
            raise
        raise UserError(_sentence(Path(output_dir), error)) from error


def _is_failed_write(error: BaseException | None) -> bool:
    for _ in range(8):
        if error is None:
            return False
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if not isinstance(error, UserError) and any(words in str(error).lower() for words in (*_TOLD, *_TORCH)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _sentence(output: Path, error: Exception) -> str:
    full = [str(place) for place in (output, Path(tempfile.gettempdir()), Path("/dev/shm")) if _is_nearly_full(place)]
    what = (
        f"the disk is full ({', '.join(full)})" if full else "a file could not be written (disk quota, or a disk error)"
    )
    last = last_checkpoint(output)
    on = f"goes on from {last}" if last else "begins anew"
    told = str(error).splitlines()[0] if str(error) else type(error).__name__
    return (
        f"{output}: {what}, and training stopped: {told}. "
        f"Free some space, or keep fewer checkpoints (--save_total_limit); the same command then {on}."
    )


def _is_nearly_full(place: Path) -> bool:
    try:
        return shutil.disk_usage(place if place.exists() else place.absolute().parent).free < _LITTLE
    except OSError:
        return False
