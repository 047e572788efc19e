"""One training run on two hosts: two network namespaces, one process in each, and one folder that both see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import ROOT, kill_tree
from training_runs import FLAGS, LORA, SCRIPT, TIME_LIMIT, Run, finish, largest_difference, losses, write_mixed
from two_hosts import ADDRESSES, TwoHosts, two_hosts, why_not

from llava_faba.training.resume import MANIFEST, checkpoints

pytestmark = pytest.mark.slow
PORT = 29500  # every namespace has all ports to itself
TOLERANCE = 1e-6  # the two ways sum in the same order; measured: 0


@pytest.fixture
def hosts() -> Iterator[TwoHosts]:
    reason = why_not()
    if reason:
        pytest.skip(f"no network namespaces here: {reason}")
    with two_hosts() as both:
        yield both


@pytest.fixture
def workspace(copied: Path) -> Path:
    write_mixed(copied)
    (copied / "hostfile").write_text("".join(f"{address} slots=1\n" for address in ADDRESSES))
    return copied


def command(launcher: str, rank: int, stage: int, output: str, *flags: str) -> list[str]:
    """What a user types on host ``rank``."""
    config = str(ROOT / "scripts" / f"zero{stage}_cpu.json")
    training = [SCRIPT, *FLAGS, *LORA, "--deepspeed", config, "--output_dir", output, *flags]
    where = [f"--node_rank={rank}", f"--master_addr={ADDRESSES[0]}", f"--master_port={PORT}"]
    if launcher == "torchrun":
        return [str(Path(sys.executable).with_name("torchrun")), "--nnodes=2", "--nproc_per_node=1", *where, *training]
    return [str(Path(sys.executable).with_name("deepspeed")), "--hostfile=hostfile", "--no_ssh", *where, *training]


@contextmanager
def started(hosts: TwoHosts, workspace: Path, *arguments: str | int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The command on both hosts; whatever is left of it at the end is killed."""
    launcher, stage, output, *flags = arguments
    settings = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "cable0"}
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    processes = [
        subprocess.Popen(
            hosts.on(rank, command(str(launcher), rank, int(stage), str(output), *map(str, flags))),
            cwd=workspace,
            env={**os.environ, **settings, "PATH": binaries},
            stdout=log_of(workspace, str(output), rank).open("ab"),
            stderr=subprocess.STDOUT,
        )
        for rank in (0, 1)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                kill_tree(process.pid)
                process.wait()


def log_of(workspace: Path, output: str, rank: int) -> Path:
    return workspace / f"{output}-host{rank}.log"


def finish_both(hosts: TwoHosts, workspace: Path, *arguments: str | int) -> None:
    with started(hosts, workspace, *arguments) as processes:
        for rank, process in enumerate(processes):
            assert process.wait(TIME_LIMIT) == 0, log_of(workspace, str(arguments[2]), rank).read_text()[-4000:]


def wait_for_checkpoint(workspace: Path, output: str, processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + TIME_LIMIT
    while not (workspace / output / "checkpoint-3" / MANIFEST).exists():
        assert all(process.poll() is None for process in processes), log_of(workspace, output, 0).read_text()[-4000:]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def check_lost(workspace: Path, output: str) -> None:
    log = log_of(workspace, output, 0).read_text()
    assert "train_emola: process 0 on host" in log and "lost its connection to the others" in log, log[-3000:]
    assert f"training goes on from {output}/checkpoint-3" in log


@pytest.mark.parametrize(("launcher", "stage"), [("deepspeed", 2), ("deepspeed", 3), ("torchrun", 2)])
def test_two_hosts_train_what_one_trains_and_go_on_after_a_death(hosts, workspace, launcher, stage):
    finish(workspace, "one", Run(processes=2, stage=stage).command("one"))
    finish_both(hosts, workspace, launcher, stage, "two")
    print(f"two hosts and one: largest difference {largest_difference(workspace / 'two', workspace / 'one')}")
    assert losses(workspace / "two") == losses(workspace / "one")
    assert largest_difference(workspace / "two", workspace / "one") <= TOLERANCE
    with started(hosts, workspace, launcher, stage, "killed") as processes:
        wait_for_checkpoint(workspace, "killed", processes)
        kill_tree(processes[1].pid)
        died = time.monotonic()
        assert processes[0].wait(120) != 0
        print(f"the other host ended {time.monotonic() - died:.0f} s after the death")
    check_lost(workspace, "killed")
    finish_both(hosts, workspace, launcher, stage, "killed")
    assert "Going on from killed/checkpoint-3." in log_of(workspace, "killed", 0).read_text()
    print(f"killed and resumed: largest difference {largest_difference(workspace / 'killed', workspace / 'two')}")
    assert losses(workspace / "killed") == losses(workspace / "two")
    assert largest_difference(workspace / "killed", workspace / "two") <= TOLERANCE


def test_a_host_that_is_cut_off_ends_the_run_after_ddp_timeout(hosts, workspace):
    """Nobody closes the connection: only time tells."""
    with started(hosts, workspace, "deepspeed", 2, "cut", "--ddp_timeout", "40") as processes:
        wait_for_checkpoint(workspace, "cut", processes)
        hosts.cut()
        cut = time.monotonic()
        assert processes[0].wait(160) != 0
        print(f"ended {time.monotonic() - cut:.0f} s after the cable was pulled, with --ddp_timeout 40")
    check_lost(workspace, "cut")


@pytest.mark.parametrize("launcher", ["deepspeed", "torchrun"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL], ids=lambda number: number.name)
def test_told_to_end_on_one_host_both_save_and_go_on(hosts, workspace, launcher, number):
    """Only the second host's launcher hears of it."""
    with started(hosts, workspace, launcher, 2, "stopped", "--save_steps", "1000") as processes:
        deadline = time.monotonic() + TIME_LIMIT
        while "'loss'" not in log_of(workspace, "stopped", 0).read_text():
            assert all(process.poll() is None for process in processes) and time.monotonic() < deadline
            time.sleep(0.01)
        told = time.monotonic()
        processes[1].send_signal(number)
        codes = [process.wait(120) for process in processes]
        print(f"exit codes {codes}, {time.monotonic() - told:.0f} s after the signal")
        assert 0 not in codes
    (saved,), broken = checkpoints(workspace / "stopped")
    assert not broken and not list((workspace / "stopped").glob("adapter_model.*"))
    assert f"{saved.name} is whole, the same command resumes from it" in log_of(workspace, "stopped", 0).read_text()
    finish_both(hosts, workspace, launcher, 2, "stopped")
    assert f"Going on from stopped/{saved.name}." in log_of(workspace, "stopped", 0).read_text()
    finish_both(hosts, workspace, launcher, 2, "whole")
    assert losses(workspace / "stopped") == losses(workspace / "whole")
    assert largest_difference(workspace / "stopped", workspace / "whole") <= TOLERANCE
