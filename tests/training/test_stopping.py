"""Under a scheduler: told to end, a run saves a whole checkpoint, says so with its exit code, and goes on from it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import kill_tree
from training_runs import LORA, TIME_LIMIT, Run, finish, largest_difference, losses, start, write_mixed

from llava_faba.training.launchers import Launcher, is_launcher, launchers_of_this_process
from llava_faba.training.main import EXIT_STOPPED
from llava_faba.training.resume import checkpoints
from llava_faba.training.run_lock import HOLDER, LOCK, RunningElsewhereError, hold_output, releasing_output

Train = Callable[..., int]
SIX = ("--lora_enable", "True", "--max_steps", "6", "--save_steps", "100", "--lora_dropout", "0.1")


@pytest.fixture
def workspace(copied: Path) -> Path:
    write_mixed(copied)
    return copied


@pytest.mark.newest
def test_told_to_end_it_saves_and_goes_on_as_if_nothing_had_been(
    copied: Path, train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM lost up to --save_steps steps; and what was left looked like a finished run."""
    assert train("whole", *SIX) == 0
    from llava_faba.data.module import FabaDataset

    calls = iter(range(1000))
    original = FabaDataset.__getitem__

    def interrupted(self: FabaDataset, i: int) -> object:
        if next(calls) == 5:  # of two records a step: in the third
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, i)

    monkeypatch.setattr(FabaDataset, "__getitem__", interrupted)
    assert train("stopped", *SIX) == EXIT_STOPPED == 75
    (saved,), broken = checkpoints("stopped")
    assert not broken and saved.name in ("checkpoint-2", "checkpoint-3")
    told = capsys.readouterr().err
    assert "stopped by SIGTERM: ended after step" in told and f"{saved} is whole, the same command resumes" in told
    assert not list(Path("stopped").glob("adapter_model.*"))  # nothing that looks like a finished run
    assert not Path("stopped", HOLDER).exists()
    monkeypatch.setattr(FabaDataset, "__getitem__", original)
    assert train("stopped", *SIX) == 0
    assert f"Going on from {saved}" in capsys.readouterr().out
    assert losses(copied / "stopped") == losses(copied / "whole")
    assert largest_difference(copied / "stopped", copied / "whole") == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # and no handler is left behind


def test_before_the_first_step_it_ends_at_once(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from llava_faba.data.module import FabaDataset

    def interrupted(self: FabaDataset, *_: object) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(FabaDataset, "check_lengths", interrupted)
    assert train("stopped", *SIX) == EXIT_STOPPED
    assert "stopped by SIGUSR1: ended before the first step" in capsys.readouterr().err
    assert not list(Path("stopped").glob("checkpoint-*"))


def test_in_its_last_step_it_finishes(copied: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import TrainerState

    from llava_faba.training import stopping

    def late(mine: bool, device: object) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return True

    monkeypatch.setattr(stopping, "_any_process", late)
    assert train("out", *SIX, "--max_steps", "1") == 0
    assert list(Path("out").glob("adapter_model.*")) and Path("out", "config.json").is_file()
    assert TrainerState.load_from_json("out/trainer_state.json").global_step == 1


def test_two_runs_in_one_folder(copied: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    """Both ended with 0, each over the other's files."""
    folder = copied / "out"
    folder.mkdir()
    with (folder / LOCK).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        (folder / HOLDER).write_text(json.dumps({"host": "node7", "process": 4711, "since": 1.7e9}))
        assert train("out", *SIX) == 2
    error = capsys.readouterr().err
    assert "another training runs in --output_dir out: process 4711 on host node7 since 2023-11-1" in error


@pytest.mark.parametrize("content", ["", "[]", '{"host": 1, "process": "x\\u001b", "since": 1e300}', '{"process": -1}'])
def test_a_note_that_is_none(tmp_path: Path, content: str) -> None:
    with (tmp_path / LOCK).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        (tmp_path / HOLDER).write_text(content)
        with releasing_output(), pytest.raises(RunningElsewhereError, match="another training runs"):
            hold_output(str(tmp_path))


def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / HOLDER).write_text(json.dumps({"host": socket.gethostname(), "process": gone.pid, "since": 1.0}))
    with releasing_output():
        hold_output(str(tmp_path))
        hold_output(str(tmp_path))  # arguments that are copied are made anew
        assert json.loads((tmp_path / HOLDER).read_text())["process"] == os.getpid()
        with releasing_output(), pytest.raises(RunningElsewhereError, match=f"process {os.getpid()} on host"):
            hold_output(str(tmp_path))
    assert not (tmp_path / HOLDER).exists()


@pytest.mark.parametrize(
    ("command", "launcher"),
    [
        ("/x/python3.11 /x/bin/deepspeed --num_gpus=2 train.py", True),
        ("/x/python -u -m deepspeed.launcher.launch --world_info=e30= train.py", True),
        ("/x/python /x/bin/torchrun --nproc_per_node=2 train.py", True),
        ("python -m torch.distributed.run train.py", True),
        ("accelerate launch train.py", True),
        ("bash -c deepspeed train.py", False),
        ("/x/python -m pytest tests/deepspeed", False),
        ("/x/python sweep.py deepspeed", False),
        ("sshd: me", False),
        ("", False),
    ],
)
def test_a_launcher_is_known_by_its_command_line(command: str, launcher: bool) -> None:
    assert is_launcher(command.split()) is launcher


def test_a_launcher_is_dead_when_it_is_a_zombie_or_its_number_is_another_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    assert Launcher(child.pid, started).is_alive() and not Launcher(child.pid, "1").is_alive()
    child.kill()
    deadline = time.monotonic() + 20
    while Launcher(child.pid, started).is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Launcher(child.pid, started).is_alive()
    child.wait()
    assert all(one.is_alive() for one in launchers_of_this_process())


# Real launchers


def processes_of(pid: int) -> dict[int, str]:
    """The process and all that it has started, with their command lines."""
    listing = subprocess.run(
        ["ps", "-e", "-ww", "-o", "pid=,ppid=,args="], check=True, capture_output=True, text=True
    ).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()]
    found = {pid: ""}
    while more := {int(row[0]): row[-1] for row in rows if int(row[1]) in found and int(row[0]) not in found}:
        found |= more
    return found


def workers_of(pid: int) -> list[int]:
    """The processes that train, without their loaders."""
    tree = {one: command for one, command in processes_of(pid).items() if one != pid}
    training = [one for one, command in tree.items() if "train_emola.py" in command and "launch" not in command]
    parents = {one: int(Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[1]) for one in training}
    return [one for one in training if parents[one] not in training]


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for_step(workspace: Path, output: str, process: subprocess.Popen[bytes]) -> None:
    """Until the first loss is logged."""
    deadline = time.monotonic() + TIME_LIMIT
    log = workspace / f"{output}.log"
    while "'loss'" not in log.read_text():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.01)


# Workers look once a second whether their launcher is there: two processes need more than the 16 steps of four epochs.
LONG = (*LORA, "--num_train_epochs", "12")
PLAIN, ZERO2, DDP = Run(), Run(processes=2, stage=2, flags=LONG), Run(processes=2, flags=LONG)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, golden: Path) -> Callable[[Run], Path]:
    """A run of the same kind that nobody stopped."""
    import shutil

    folder = Path(shutil.copytree(golden, tmp_path_factory.mktemp("undisturbed") / "golden"))
    write_mixed(folder)
    made: dict[Run, Path] = {}

    def run(kind: Run) -> Path:
        if kind not in made:
            name = f"whole{len(made)}"
            finish(folder, name, kind.command(name))
            made[kind] = folder / name
        return made[kind]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGKILL], ids=lambda n: n.name
)
@pytest.mark.parametrize(
    ("run", "target"),
    [
        pytest.param(PLAIN, "group", id="plain-group"),
        pytest.param(ZERO2, "launcher", id="zero2-launcher"),
        pytest.param(ZERO2, "helper", id="zero2-helper"),
        pytest.param(ZERO2, "worker", id="zero2-worker"),
        pytest.param(ZERO2, "group", id="zero2-group"),
        pytest.param(DDP, "launcher", id="torchrun-launcher"),
        pytest.param(DDP, "worker", id="torchrun-worker"),
        pytest.param(DDP, "group", id="torchrun-group"),
    ],
)
def test_whoever_is_told_all_end_saved_and_the_same_command_goes_on(
    workspace: Path, undisturbed: Callable[[Run], Path], run: Run, target: str, number: signal.Signals
) -> None:
    if number == signal.SIGKILL and target in ("group", "worker"):
        pytest.skip("nobody can save any more: test_resume.py")
    whole = undisturbed(run)
    process = start(workspace, "stopped", [*run.command("stopped"), "--save_steps", "1000"])
    try:
        wait_for_step(workspace, "stopped", process)
        tree = processes_of(process.pid)
        workers = workers_of(process.pid)
        helper = next((one for one, command in tree.items() if "deepspeed.launcher.launch" in command), process.pid)
        began = time.monotonic()
        if target == "group":
            os.killpg(process.pid, number)
        else:
            os.kill({"launcher": process.pid, "helper": helper, "worker": workers[-1]}[target], number)
        code = process.wait(120)
        while any(is_there(one) for one in tree) and time.monotonic() < began + 120:
            time.sleep(0.05)
        left = {one: command for one, command in tree.items() if is_there(one)}
        took = time.monotonic() - began
    finally:
        kill_tree(process.pid) if process.poll() is None else None
    log = (workspace / "stopped.log").read_text()
    print(f"launcher's exit code {code}; all had ended after {took:.0f} s")
    assert not left and code != 0, (left, log[-3000:])
    if run is PLAIN:
        assert code == EXIT_STOPPED
    (saved,), broken = checkpoints(workspace / "stopped")
    assert not broken and f"{saved.name} is whole, the same command resumes from it" in log, log[-4000:]
    assert not list((workspace / "stopped").glob("adapter_model.*"))
    log = finish(workspace, "stopped", run.command("stopped"))
    assert f"Going on from stopped/{saved.name}." in log
    assert losses(workspace / "stopped") == losses(whole)
    difference = largest_difference(workspace / "stopped", whole)
    print(f"largest difference of a weight: {difference}")
    assert difference <= (0 if run is PLAIN else 1e-6)
