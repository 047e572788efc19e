"""The shared memory through which DeepSpeed's processes sum on a CPU."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path("/dev/shm")


def free_with_processes() -> None:
    """Let the buffers of this run go when its processes go; every process calls it, when DeepSpeed has been started.

    DeepSpeed makes 66 MB of main memory for each process under a name that holds the port, and never takes it away
    (csrc/cpu/comm/shm.cpp): a hundred runs on a free port each fill 13 GB. Once every process has opened the others'
    buffers nobody needs the names any more, and what has no name ends with the last process, killed or not.
    """
    import torch

    torch.distributed.barrier()
    name = f"deepspeed_allreduce_buffer_{os.getuid()}_{os.environ['MASTER_ADDR']}_{os.environ['MASTER_PORT']}"
    (FOLDER / f"{name}_{torch.distributed.get_rank()}").unlink(missing_ok=True)
