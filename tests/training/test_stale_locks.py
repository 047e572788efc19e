"""A killed compilation does not make later runs wait for ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llava_faba.training.stale_locks import remove_stale_locks

HOLD = "import sys, time; from torch.utils.file_baton import FileBaton; "
HOLD += "assert FileBaton(sys.argv[1]).try_acquire() or sys.exit(3); print('held', flush=True); time.sleep(300)"


def test_only_the_lock_of_a_living_compilation_stays(tmp_path: Path) -> None:
    lock = tmp_path / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert remove_stale_locks(tmp_path) == []
        assert lock.exists()
    finally:
        holder.kill()
        holder.wait()
    assert lock.exists()  # what a killed compilation leaves
    assert remove_stale_locks(tmp_path) == [lock]
    assert not lock.exists()
    assert remove_stale_locks(tmp_path) == []


def test_preparing_a_cpu_removes_them_first(tmp_path: Path, monkeypatch) -> None:
    import deepspeed
    import torch

    from llava_faba.training import cpu_processes

    lock = tmp_path / "py311_cpu" / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "cpu")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    there = []
    monkeypatch.setattr(deepspeed, "init_distributed", lambda **options: there.append(lock.exists()))
    monkeypatch.setattr(cpu_processes, "free_with_processes", lambda: None)  # nothing was started
    with pytest.warns(UserWarning, match="which a killed compilation had left"):
        cpu_processes.prepare_cpu("zero2_cpu.json", 60)
    assert there == [False]
