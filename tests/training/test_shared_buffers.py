"""DeepSpeed's shared memory goes with the processes that made it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import free_port

from llava_faba.training.shared_buffers import FOLDER

PROGRAM = """
import os, signal, sys
import deepspeed, torch
from llava_faba.training import cpu_processes

cpu_processes.prepare_cpu("zero2.json", None)
values = torch.full((1000,), 1.0 + torch.distributed.get_rank())
deepspeed.comm.inference_all_reduce(values)
torch.distributed.barrier()
if torch.distributed.get_rank() == 0:
    mapped = sorted({line.split()[5] for line in open("/proc/self/maps") if "deepspeed_allreduce_buffer" in line})
    print("SUM", values.unique().tolist(), "MAPPED", [name.rsplit("_", 1)[1] for name in mapped], flush=True)
torch.distributed.barrier()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no {FOLDER} here")
def test_no_name_is_left_when_processes_are_killed(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    port = free_port()
    command = [str(Path(sys.executable).with_name("deepspeed")), "--num_gpus=2", f"--master_port={port}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run(
        [*command, str(tmp_path / "program.py")], env=environment, capture_output=True, text=True, timeout=500
    )
    # Both processes' buffers are in use, and were summed through.
    assert "SUM [3.0] MAPPED ['0', '1']" in result.stdout, result.stdout[-2000:] + result.stderr[-2000:]
    assert not list(FOLDER.glob(f"deepspeed_allreduce_buffer_*_{port}_*"))
