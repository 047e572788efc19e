"""DeepSpeed where there is no GPU: its processes, and what they leave behind."""

from __future__ import annotations

import os
import warnings
from datetime import timedelta

import torch

from llava_faba.training.shared_buffers import free_with_processes
from llava_faba.training.stale_locks import remove_stale_locks


def prepare_cpu(deepspeed_config: str | None, timeout: int | None) -> None:
    """Let DeepSpeed run where there is no GPU: accelerate 0.21 would start NCCL.

    ``timeout``: seconds that a process waits for the others, as transformers passes it on where there is a GPU.
    """
    if torch.cuda.is_available() or deepspeed_config is None:
        return
    import deepspeed
    from accelerate import PartialState

    if not hasattr(PartialState, "_prepare_backend"):  # newer ones find the CPU's backend themselves
        os.environ.setdefault("ACCELERATE_TORCH_DEVICE", "cpu")
    if not torch.distributed.is_initialized():
        for lock in remove_stale_locks():
            warnings.warn(f"removed {lock}, which a killed compilation had left", stacklevel=3)
        deepspeed.init_distributed(
            dist_backend="gloo", timeout=timedelta(seconds=timeout or 1800)
        )  # transformers' default
        free_with_processes()
