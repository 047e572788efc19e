"""A run that is told to end saves a whole checkpoint first: SIGTERM, SIGINT, SIGUSR1, and a launcher that is gone.

Whichever process hears of it, all processes agree after their step, save together, and end with exit code 75
(``EX_TEMPFAIL`` of sysexits.h: try again). Before the first step there is nothing to save, and after the last one the
run is at its end and finishes.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import torch
from faba_bench.console.output import tell
from transformers import TrainerCallback

from llava_faba.training.launchers import launchers_of_this_process
from llava_faba.training.main import EXIT_STOPPED

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_EVERY = 1.0  # seconds between two looks at the launchers
_current: Stop | None = None


class Stopped(SystemExit):
    """The run was told to end and has saved what there was to save."""

    def __init__(self) -> None:
        super().__init__(EXIT_STOPPED)


class Stop:
    """What this process has heard: ``reason`` to end, None as long as there is none."""

    def __init__(self, patience: float) -> None:
        self.reason: str | None = None
        self.is_training = False
        self.is_over = False
        self._patience = patience
        self._deadline: float | None = None

    def request(self, reason: str) -> None:
        """Take note; before training has begun, end at once."""
        _leave_broken_pipes()
        if self.reason is None:
            self.reason, self._deadline = reason, time.monotonic() + self._patience
        if self.is_training or self.is_over:
            return
        with contextlib.suppress(OSError):
            tell(f"train_emola: {reason}: ended before the first step; nothing was saved.")
        if threading.current_thread() is threading.main_thread():
            raise Stopped
        os._exit(EXIT_STOPPED)

    def watch(self, finished: threading.Event) -> None:
        """End with the launchers; and if all processes have not come to a common end in time, by itself."""
        launchers = launchers_of_this_process()
        while not finished.wait(_EVERY):
            gone = next((one for one in launchers if not one.is_alive()), None)
            if gone is not None and self.reason is None:
                self.request(f"its launcher, process {gone.pid}, is gone")
            if self._deadline is not None and not self.is_over and time.monotonic() > self._deadline:
                os._exit(EXIT_STOPPED)  # others are gone or hang: what was saved before is whole


@contextlib.contextmanager
def stoppable(patience: float | None) -> Iterator[None]:
    """While inside, one call of ``train()``, signals stop the run; in another than the main thread only launchers do.

    ``patience``: seconds that a process waits for the others to stop with it; None: half an hour, as for
    ``--ddp_timeout``.
    """
    global _current
    _current = stop = Stop(patience or 1800)
    finished = threading.Event()
    before: dict[signal.Signals, Any] = {}
    owner = os.getpid()

    def handle(number: int, _: Any) -> None:
        if os.getpid() == owner:  # and not a loader process, which has inherited this
            stop.request(f"stopped by {signal.Signals(number).name}")

    if threading.current_thread() is threading.main_thread():
        for one in _SIGNALS:
            if signal.getsignal(one) is not signal.SIG_IGN:  # as for jobs in a shell's background
                before[one] = signal.signal(one, handle)
    threading.Thread(target=stop.watch, args=(finished,), daemon=True).start()
    try:
        yield
    finally:
        finished.set()
        for one, handler in before.items():
            signal.signal(one, handler)
        _current = None


def stop_callbacks(trainer: Any) -> list[Any]:
    """What the trainer needs for it; nothing outside ``stoppable``."""
    return [] if _current is None else [_SaveAndStop(_current, trainer)]


def end_if_stopped(trainer: Any) -> None:
    """Called when training is over: raises Stopped where it was told to end before its last step."""
    stop, state = _current, trainer.state
    if stop is None:
        return
    stop.is_training, stop.is_over = False, True
    if not getattr(trainer, "stopped_early", False):
        return
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()  # the first one to end brings the launcher to kill the others
    if trainer.is_world_process_zero():
        _tell_where(trainer, stop.reason or "another process was told to end", state)
    raise Stopped


def _tell_where(trainer: Any, reason: str, state: Any) -> None:
    what = f"{reason}: ended after step {state.global_step} of {state.max_steps}"
    if resumable(trainer.args):
        what += (
            f"; {trainer.args.output_dir}/checkpoint-{state.global_step} is whole, the same command resumes from it."
        )
    else:
        what += "; nothing was saved, since this stage cannot be gone on with: the same command begins anew."
    with contextlib.suppress(OSError):
        tell(f"train_emola: {what}")


def resumable(args: Any) -> bool:
    """Whether a checkpoint of this run holds what going on needs."""
    return not (getattr(args, "tune_mm_mlp_adapter", False) or getattr(args, "save_only_model", False))


class _SaveAndStop(TrainerCallback):
    def __init__(self, stop: Stop, trainer: Any) -> None:
        self._stop, self._trainer = stop, trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._stop.is_training = True

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not _any_process(self._stop.reason is not None, args.device):
            return
        if state.global_step >= state.max_steps:
            return  # it is done, and is saved as a whole
        self._trainer.stopped_early = True
        control.should_save = resumable(args)
        control.should_training_stop = True


def _any_process(mine: bool, device: Any) -> bool:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return mine
    flag = torch.tensor([int(mine)], device=device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag.item())


def _leave_broken_pipes() -> None:
    """Whoever read the output may be gone as well; a progress bar must not end the run before it has saved."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
