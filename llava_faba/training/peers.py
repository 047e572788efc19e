"""Several processes: what keeps their engines from meeting LLaVA's options, and what is said when one is gone."""

from __future__ import annotations

import contextlib
import functools
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from types import TracebackType
from typing import Any

from llava_faba.compat.engine import replaced
from llava_faba.errors import UserError
from llava_faba.training.resume import last_checkpoint

_CANNOT = "no support for "  # gloo of torch 2.0 and ZeRO-3, say: nobody is lost, and starting again changes nothing
_IN_GLOO = re.compile(r"\[\S*/gloo/\S+:\d+\]")


class LostProcessError(UserError):
    """Another process of the same run ended, or cannot be reached."""


def checkpoint_under_ddp(args: Any) -> None:
    """Gradient checkpointing without DeepSpeed: do not look for unused parameters, which marks some of them twice.

    transformers decides so itself for its own models, but not for one that PEFT has wrapped. None is unused: a batch of
    text alone runs the projectors as well.
    """
    if args.gradient_checkpointing and args.ddp_find_unused_parameters is None:
        args.ddp_find_unused_parameters = False


def accumulate_under_deepspeed(accelerator: Any) -> None:
    """DeepSpeed accumulates gradients itself, and ZeRO-2 and 3 refuse the ``no_sync`` that accelerate 0.21 asks for."""
    accelerator.no_sync = lambda model: contextlib.nullcontext()


@contextlib.contextmanager
def groups_waiting(seconds: int | None) -> Iterator[None]:
    """Give the process groups that are made inside a time limit; None: torch's own.

    DeepSpeed makes groups without one, which then wait for ten (NCCL) or thirty minutes, whatever --ddp_timeout says.
    """
    import torch

    if seconds is None or not torch.distributed.is_available():
        yield
        return
    original = torch.distributed.new_group

    @functools.wraps(original)
    def new_group(ranks: Any = None, timeout: timedelta | None = None, *args: Any, **kwargs: Any) -> Any:
        return original(ranks, timedelta(seconds=seconds) if timeout is None else timeout, *args, **kwargs)

    with replaced(torch.distributed, "new_group", new_group):
        yield


@contextlib.contextmanager
def naming_lost_processes(output_dir: str | None) -> Iterator[None]:
    """Make errors of torch's communication LostProcessErrors that say what to do."""
    try:
        yield
    except RuntimeError as error:
        if not _from_communication(error):
            raise
        import torch

        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        raise LostProcessError(
            f"process {rank} on host {socket.gethostname()} lost its connection to the others: {error}\n"
            "Another process of this run ended, was killed, or cannot be reached; its own output says why. "
            f"Start the same command again on every host: training goes on {_from_where(output_dir)}."
        ) from error


def _from_communication(error: RuntimeError) -> bool:
    """Whether the error came out of torch.distributed.

    gloo's are plain RuntimeErrors: the raising module tells, or, where somebody waited for what had been started before
    (DeepSpeed's ZeRO-3, the backward pass of DDP), the place in gloo's source that its messages begin with.
    """
    from llava_faba.compat.torch_versions import is_distributed_error

    if str(error).startswith(_CANNOT):
        return False
    if is_distributed_error(error):
        return True
    if _IN_GLOO.match(str(error)):
        return True
    return _raising_module(error.__traceback__).split(".")[:2] == ["torch", "distributed"]


def _raising_module(trace: TracebackType | None) -> str:
    name = ""
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next
    return name


def _from_where(output_dir: str | None) -> str:
    last = last_checkpoint(output_dir) if output_dir else None
    return f"from {last}" if last else "from the beginning, since no checkpoint is whole yet"
