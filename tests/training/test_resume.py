"""Killed in the middle of an epoch or of saving and started again, a run ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from support import ROOT, free_port, kill_tree

from llava_faba.errors import CheckpointError, UserError
from llava_faba.model.checkpoints import read_weights
from llava_faba.training.resume import (
    MANIFEST,
    check_same_run,
    checkpoints,
    common_checkpoint,
    last_checkpoint,
    mark_complete,
    remove_drafts,
)

SCRIPT = str(ROOT / "scripts" / "train_emola.py")
KILLED_WHILE_SAVING = str(Path(__file__).with_name("killed_while_saving.py"))
# Dropout and two loader processes: random state matters. Eight records, two of them text only.
FLAGS = shlex.split(
    "--model_name_or_path base --version v1 --image_folder data --data_path data/mixed.json "
    "--vision_tower ./clip-tiny --mm_projector_type mlp2x_gelu --mm_vision_select_layer -2 "
    "--mm_use_im_start_end False --mm_use_im_patch_token False --image_aspect_ratio pad "
    "--group_by_modality_length True --lora_r 8 --lora_alpha 16 --lora_dropout 0.1 --per_device_train_batch_size 1 "
    "--learning_rate 2e-3 --lr_scheduler_type cosine --warmup_ratio 0.1 --model_max_length 512 --report_to none "
    "--logging_steps 1 --num_train_epochs 4 --save_strategy steps --save_steps 3 --save_total_limit 2 "
    "--dataloader_num_workers 2 --lazy_preprocess True --facial_prior_expert precomputed"
)
LORA = ("--lora_enable", "True", "--mm_projector_lr", "2e-5")
FULL = ("--lora_enable", "False")
UNGROUPED = ("--group_by_modality_length", "False")
THREE = ("--gradient_accumulation_steps", "3")
BF16 = ("--bf16", "True")


@dataclass(frozen=True)
class Run:
    """A training command, and the step after which it is killed."""

    processes: int = 1
    stage: int | None = None
    flags: tuple[str, ...] = LORA
    kill_after: int = 6

    def command(self, output: str, *program: str) -> list[str]:
        config = [] if self.stage is None else ["--deepspeed", str(ROOT / "scripts" / f"zero{self.stage}_cpu.json")]
        training = [*(program or (SCRIPT,)), *FLAGS, *self.flags, *config, "--output_dir", output]
        if self.stage is not None:
            launcher = [str(Path(sys.executable).with_name("deepspeed")), f"--num_gpus={self.processes}"]
            return [*launcher, f"--master_port={free_port()}", *training]
        if self.processes == 1:
            return [sys.executable, *training]
        launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={self.processes}"]
        backend = ["--use_cpu", "True", "--ddp_backend", "gloo"]
        return [*launcher, f"--master_port={free_port()}", *training, *backend]


def start(workspace: Path, output: str, command: list[str]) -> subprocess.Popen[bytes]:
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        command,
        cwd=workspace,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": binaries},
        stdout=(workspace / f"{output}.log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def finish(workspace: Path, output: str, command: list[str]) -> str:
    """Run to the end; what the run has printed."""
    code = start(workspace, output, command).wait(500)
    log = (workspace / f"{output}.log").read_text()
    assert code == 0, log[-4000:]
    return log


def kill_after(workspace: Path, output: str, command: list[str], step: int) -> None:
    """Start the run and kill -9 all its processes as soon as the checkpoint of ``step`` is whole."""
    process = start(workspace, output, command)
    manifest = workspace / output / f"checkpoint-{step}" / MANIFEST
    deadline = time.monotonic() + 400
    while not manifest.exists():
        assert process.poll() is None and time.monotonic() < deadline, (workspace / f"{output}.log").read_text()[-4000:]
        time.sleep(0.005)
    kill_tree(process.pid)
    process.wait()
    assert not (workspace / output / "trainer_state.json").exists()  # it had not come to its end


def weights(folder: Path) -> dict[str, torch.Tensor]:
    if (folder / "non_lora_trainables.bin").is_file():
        adapter = read_weights(next(folder.glob("adapter_model.*")))
        return {**adapter, **read_weights(folder / "non_lora_trainables.bin")}
    files = sorted([*folder.glob("model*.safetensors"), *folder.glob("pytorch_model*.bin")])
    return {name: value for file in files for name, value in read_weights(file).items()}


def losses(folder: Path) -> list[float]:
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def largest_difference(found: Path, expected: Path) -> float:
    one, other = weights(found), weights(expected)
    assert one.keys() == other.keys() and one
    return max(float((one[name].double() - value.double()).abs().max()) for name, value in other.items())


def check_equal(workspace: Path, tolerance: float) -> None:
    killed, whole = workspace / "killed", workspace / "whole"
    difference = largest_difference(killed, whole)
    print(f"largest difference of a weight: {difference}")  # pytest -rP shows it
    assert difference <= tolerance
    assert losses(killed) == pytest.approx(losses(whole), abs=max(tolerance, 1e-12))
    assert not checkpoints(killed)[1] and not list(killed.glob("tmp-*"))


@pytest.fixture
def workspace(copied: Path) -> Path:
    records = json.loads((copied / "data" / "train.json").read_text())
    for record in records[:2]:
        record.pop("image"), record.pop("landmark")
        record["conversations"][0]["value"] = "What is AU4?"
    (copied / "data" / "mixed.json").write_text(json.dumps(records))
    return copied


def test_killed_in_the_second_epoch_and_then_while_saving(workspace):
    """Eight batches an epoch and three accumulated: two updates an epoch, two batches are left over."""
    run = Run(flags=(*LORA, *THREE), kill_after=3)
    finish(workspace, "whole", run.command("whole"))
    assert len(losses(workspace / "whole")) == 8
    kill_after(workspace, "killed", run.command("killed"), step=3)
    # The next checkpoint is written in place, over what another kill has left there.
    shutil.copytree(workspace / "killed" / "checkpoint-3", workspace / "killed" / "checkpoint-6")
    (workspace / "killed" / "checkpoint-6" / MANIFEST).unlink()
    cut = run.command("killed", KILLED_WHILE_SAVING, "checkpoint-6", "optimizer.pt")
    assert start(workspace, "killed", cut).wait(500) == -signal.SIGKILL
    assert last_checkpoint(workspace / "killed") == workspace / "killed" / "checkpoint-3"
    log = finish(workspace, "killed", run.command("killed"))
    assert log.count("checkpoint-6 is not complete") == 2 and log.count("Going on from killed/checkpoint-3.") == 2
    check_equal(workspace, tolerance=0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "tolerance"),
    [
        pytest.param(Run(), 0.0, id="plain"),
        pytest.param(Run(flags=(*LORA, *BF16)), 0.0, id="plain-bf16"),
        pytest.param(Run(flags=FULL), 0.0, id="plain-full"),
        pytest.param(Run(flags=(*LORA, *UNGROUPED), kill_after=9), 0.0, id="plain-ungrouped"),
        pytest.param(Run(processes=2), 1e-6, id="ddp"),
        pytest.param(Run(processes=2, stage=2), 1e-6, id="zero2"),
        pytest.param(Run(processes=2, stage=3), 1e-6, id="zero3"),
        pytest.param(Run(processes=2, stage=2, flags=(*LORA, *BF16)), 1e-6, id="zero2-bf16"),
        pytest.param(Run(processes=2, stage=3, flags=(*LORA, *THREE), kill_after=3), 1e-6, id="zero3-accumulated"),
        pytest.param(Run(processes=2, stage=2, flags=FULL), 1e-6, id="zero2-full"),
        pytest.param(Run(processes=2, stage=3, flags=FULL), 1e-6, id="zero3-full"),
    ],
)  # fmt: skip
def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(workspace, run, tolerance):
    finish(workspace, "whole", run.command("whole"))
    kill_after(workspace, "killed", run.command("killed"), run.kill_after)
    log = finish(workspace, "killed", run.command("killed"))
    assert f"Going on from killed/checkpoint-{run.kill_after}." in log
    check_equal(workspace, tolerance)


@pytest.mark.slow
def test_a_process_killed_while_saving_under_zero(workspace):
    """Rank 1 is killed when its part of the optimizer's state is half written; the launcher ends the other."""
    run = Run(processes=2, stage=2)
    finish(workspace, "whole", run.command("whole"))
    part = "bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"
    kill = run.command("killed", KILLED_WHILE_SAVING, "global_step6", part.removeprefix("bf16_"))
    assert start(workspace, "killed", kill).wait(500) != 0
    assert last_checkpoint(workspace / "killed") == workspace / "killed" / "checkpoint-3"
    finish(workspace, "killed", run.command("killed"))
    check_equal(workspace, tolerance=1e-6)


@pytest.mark.slow
def test_a_finished_run_started_again_changes_nothing_and_can_be_made_longer(workspace):
    run = Run(kill_after=0)
    finish(workspace, "whole", run.command("whole"))
    shutil.copytree(workspace / "whole", workspace / "again")
    finish(workspace, "again", run.command("again"))
    assert largest_difference(workspace / "again", workspace / "whole") == 0
    log = finish(workspace, "again", [*run.command("again"), "--num_train_epochs", "5"])
    assert "num_train_epochs was 4.0, is 5.0" in log and len(losses(workspace / "again")) == 40


@pytest.mark.slow
def test_another_learning_rate_is_an_error_that_names_it(workspace):
    run = Run()
    kill_after(workspace, "killed", run.command("killed"), 3)
    code = start(workspace, "killed", [*run.command("killed"), "--learning_rate", "1e-3"]).wait(500)
    log = (workspace / "killed.log").read_text()
    assert code == 2, log[-3000:]
    assert "checkpoint-3 was saved by another run: learning_rate was 0.002, is 0.001." in log


SETTINGS = {"processes": 2, "trained weights": ["a", "b"], "learning_rate": 1e-4, "num_train_epochs": 1.0}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    for step in (3, 12, 9):
        folder = tmp_path / f"checkpoint-{step}"
        (folder / "global_step").mkdir(parents=True)
        (folder / "global_step" / "weights.bin").write_bytes(b"1234")
        (folder / "trainer_state.json").write_text("{}")
        mark_complete(folder, SETTINGS)
    (tmp_path / "checkpoint-best").mkdir()
    return tmp_path


def test_the_newest_whole_checkpoint_is_found_by_number(run_folder):
    assert last_checkpoint(run_folder) == common_checkpoint(run_folder) == run_folder / "checkpoint-12"
    assert last_checkpoint(run_folder / "nothing") is common_checkpoint(run_folder / "nothing") is None


@pytest.mark.parametrize("damage", ["cut", "gone", "no manifest", "half a manifest"])
def test_a_broken_checkpoint_is_passed_over(run_folder, damage):
    folder = run_folder / "checkpoint-12"
    if damage == "cut":
        (folder / "global_step" / "weights.bin").write_bytes(b"12")
    elif damage == "gone":
        (folder / "global_step" / "weights.bin").unlink()
    elif damage == "no manifest":
        (folder / MANIFEST).unlink()
    else:
        (folder / MANIFEST).write_text((folder / MANIFEST).read_text()[:-5])
    whole, broken = checkpoints(run_folder)
    assert [path.name for path in whole] == ["checkpoint-3", "checkpoint-9"] and broken == [folder]


def test_a_checkpoint_of_weights_alone_is_not_gone_on_from(run_folder):
    shutil.rmtree(run_folder / "checkpoint-12" / "global_step")
    mark_complete(run_folder / "checkpoint-12", SETTINGS)
    with pytest.raises(UserError, match="checkpoint-12 holds weights but no optimizer state"):
        common_checkpoint(run_folder)


def test_hosts_that_see_different_folders(run_folder, monkeypatch):
    seen = [("one", [3, 9, 12]), ("two", [3, 9])]
    monkeypatch.setattr("llava_faba.training.resume._gather", lambda value: seen)
    assert common_checkpoint(run_folder) == run_folder / "checkpoint-9"
    seen[1] = ("two", [])
    with pytest.raises(UserError, match=r"host one has a whole checkpoint-12 in .*, host two has not"):
        common_checkpoint(run_folder)


def test_drafts_of_a_killed_run_are_removed(run_folder):
    (run_folder / "tmp-checkpoint-15").mkdir()
    (run_folder / "tmp-checkpoint-15" / "adapter_model.bin").write_bytes(b"1")
    remove_drafts(run_folder)
    assert not (run_folder / "tmp-checkpoint-15").exists() and (run_folder / "checkpoint-12").is_dir()


def test_another_run_is_not_gone_on_with(run_folder):
    folder = run_folder / "checkpoint-3"
    assert check_same_run(folder, SETTINGS) == []
    assert check_same_run(folder, {**SETTINGS, "num_train_epochs": 2.0}) == ["num_train_epochs was 1.0, is 2.0"]
    with pytest.raises(
        UserError, match=r"saved by another run: learning_rate was 0.0001, is 0.001; processes was 2, is 1\."
    ):
        check_same_run(folder, {**SETTINGS, "processes": 1, "learning_rate": 1e-3})
    with pytest.raises(UserError, match=r"other trained weights \(1 differ, such as c\)"):
        check_same_run(folder, {**SETTINGS, "trained weights": ["a", "b", "c"]})


def test_a_checkpoint_without_the_other_weights_is_an_error(tmp_path):
    from llava_faba.training.resume import load_non_lora

    with pytest.raises(CheckpointError, match="non_lora_trainables"):
        load_non_lora(torch.nn.Linear(1, 1), tmp_path)
