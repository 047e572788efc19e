"""What a process says when another process of its run is gone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from support import free_port

from llava_faba.training.peers import LostProcessError, naming_lost_processes
from llava_faba.training.resume import mark_complete

DYING = """
import os, sys, torch
torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=1, world_size=2)
os._exit(9)
"""


def all_reduce() -> None:
    torch.distributed.all_reduce(torch.zeros(1))


def all_reduce_and_wait() -> None:
    torch.distributed.all_reduce(torch.zeros(1), async_op=True).wait()


@pytest.mark.parametrize("communicate", [all_reduce, all_reduce_and_wait])
def test_a_process_that_died_is_named_with_the_checkpoint_to_go_on_from(
    tmp_path: Path, communicate: Callable[[], None]
):
    (tmp_path / "checkpoint-3").mkdir()
    mark_complete(tmp_path / "checkpoint-3", {})
    store = tmp_path / "store"
    with subprocess.Popen([sys.executable, "-c", DYING, str(store)]) as other:
        torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=2)
        try:
            other.wait(60)
            lost = pytest.raises(LostProcessError, match=r"(?s)process 0 on host .* lost .* from .*checkpoint-3\.")
            with lost, naming_lost_processes(str(tmp_path)):
                communicate()
        finally:
            torch.distributed.destroy_process_group()


def test_what_a_backend_cannot_do_is_no_lost_process(tmp_path: Path):
    """ZeRO-3 over the gloo of torch 2.0: nobody is lost, and starting again would not help."""
    words = "no support for _allgather_base in Gloo process group"
    program = compile(f"raise RuntimeError({words!r})", "distributed_c10d.py", "exec")
    with pytest.raises(RuntimeError, match=words) as caught, naming_lost_processes(str(tmp_path)):
        exec(program, {"__name__": "torch.distributed.distributed_c10d"})
    assert type(caught.value) is RuntimeError


@pytest.mark.skipif(not hasattr(torch.distributed, "DistStoreError"), reason="this torch's store does not wait")
def test_a_process_that_never_came(tmp_path: Path):
    lost = pytest.raises(LostProcessError, match="from the beginning, since no checkpoint is whole yet")
    with lost, naming_lost_processes(str(tmp_path)):
        torch.distributed.TCPStore("127.0.0.1", free_port(), 2, is_master=True, timeout=timedelta(seconds=1))


def test_an_error_of_the_training_itself_is_left_alone(tmp_path: Path):
    with pytest.raises(RuntimeError, match="size of tensor a") as caught, naming_lost_processes(str(tmp_path)):
        torch.zeros(2) + torch.zeros(3)
    assert type(caught.value) is RuntimeError
