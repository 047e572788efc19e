"""One run at a time in one ``--output_dir``: a lock that the run's first process holds, and a note of who that is.

The kernel lets go of the lock when that process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from faba_bench.files.atomic import write_json
from faba_bench.files.jsonfiles import read_object
from faba_bench.files.locks import exclusive
from faba_bench.files.terminal import printable

from llava_faba.errors import UserError

LOCK = ".training.lock"
HOLDER = ".training.json"
_LOADERS_END = 15.0  # seconds that loader processes, which have inherited a lock, may outlive a killed run
_held: ContextVar[_Holding | None] = ContextVar("held", default=None)


@dataclass
class _Holding:
    stack: contextlib.ExitStack
    output_dir: str | None = None


class RunningElsewhereError(UserError):
    """Another run holds the output folder."""


@contextlib.contextmanager
def releasing_output() -> Iterator[None]:
    """While inside, one call of ``train()``, what ``hold_output`` takes is held."""
    with contextlib.ExitStack() as stack:
        token = _held.set(_Holding(stack))
        try:
            yield
        finally:
            _held.reset(token)


def hold_output(output_dir: str) -> None:
    """Take the lock of ``output_dir`` until the run ends. Every process calls it, as soon as they know each other.

    Raises RunningElsewhereError in all of them, naming the run which holds it: host, process, since when.
    """
    holding = _held.get()
    if holding is None or holding.output_dir == output_dir:
        return  # arguments that are copied are made anew
    holding.output_dir = output_dir
    shared = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank = torch.distributed.get_rank() if shared else int(os.environ.get("RANK", 0))
    answer: list[str | None] = [_take(Path(output_dir), holding.stack) if rank == 0 else None]
    if shared:
        torch.distributed.broadcast_object_list(answer, src=0)
    if answer[0] is not None:
        raise RunningElsewhereError(answer[0])


def _take(folder: Path, stack: contextlib.ExitStack) -> str | None:
    """Lock a folder; returns what is wrong."""
    deadline = time.monotonic() + _LOADERS_END
    while True:
        try:
            stack.enter_context(exclusive(folder / LOCK, "a training", error=_Busy))
            break
        except _Busy:
            holder = _holder(folder)
            if not _is_dead(holder) or time.monotonic() > deadline:
                return _told(folder, holder)
            time.sleep(0.5)
        except OSError as error:
            return f"--output_dir {folder}: cannot be written to: {error.strerror}"
    write_json(folder / HOLDER, {"host": socket.gethostname(), "process": os.getpid(), "since": time.time()})
    stack.callback((folder / HOLDER).unlink, missing_ok=True)
    return None


class _Busy(Exception):
    pass


def _holder(folder: Path) -> dict[str, Any]:
    try:
        return read_object(folder / HOLDER, error=_Busy, limit=1 << 12)
    except (_Busy, OSError):
        return {}


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether the process that is named is one of this host, and gone."""
    process = holder.get("process")
    if holder.get("host") != socket.gethostname() or type(process) is not int or not 0 < process < 1 << 31:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _told(folder: Path, holder: dict[str, Any]) -> str:
    host, process = printable(str(holder.get("host", "unknown")))[:80], printable(str(holder.get("process", "?")))[:12]
    when = ""
    with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError, OSError):
        when = f" since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(holder['since']))}"
    return (
        f"another training runs in --output_dir {folder}: process {process} on host {host}{when}. Two would write over "
        "each other's files: wait for its end, end it, or give another --output_dir."
    )
