"""The processes of a training, which must know each other before a model is loaded."""

from __future__ import annotations

import atexit
import os
import sys

from llava_faba.native_training.config import TrainSettings
from llava_faba.ports import free_port
from llava_faba.training.cpu_processes import prepare_cpu

_ALONE = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}


def prepare_processes(settings: TrainSettings) -> None:
    """Start DeepSpeed's communication where a training uses it, without a launcher in this process alone.

    DeepSpeed would look for MPI when no launcher has told it who is there, and ZeRO-3 shares out a model while it is
    loaded.
    """
    config = settings.trainer.get("deepspeed")
    if config is None and os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() != "true":
        return
    if "RANK" not in os.environ:
        os.environ.update({**_ALONE, "MASTER_PORT": str(free_port())})
    timeout = settings.trainer.get("ddp_timeout")
    prepare_cpu(str(config or "accelerate's"), None if timeout is None else int(timeout))


def end_together() -> None:
    """Wait for the other processes, and end the communication with them.

    The first process to end brings the launcher to end the others, one that merges included.
    """
    import torch

    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return
    if torch.distributed.get_world_size() > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def leave_launcher() -> None:
    """End this process here, with exit code 0, where it is one of several whose work is on disk; else do nothing.

    What Python registers for its end is run; what C++ libraries do behind that is not: there a thread of theirs has
    ended one of two processes with SIGABRT now and then, and the launcher then called the whole training failed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
