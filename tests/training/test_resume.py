"""Killed in the middle of an epoch and started again, a run ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support import ROOT, free_port, kill_tree

from llava_faba.errors import CheckpointError, UserError
from llava_faba.model.checkpoints import read_weights
from llava_faba.training.resume import MANIFEST, check_same_run, checkpoints, last_checkpoint, mark_complete

SCRIPT = str(ROOT / "scripts" / "train_emola.py")
# 8 records: 4 steps an epoch, so that the kill after step 6 is in the middle of the second one.
FLAGS = shlex.split(
    "--model_name_or_path base --version v1 --image_folder data --data_path data/train.json "
    "--vision_tower ./clip-tiny --mm_projector_type mlp2x_gelu --mm_vision_select_layer -2 "
    "--mm_use_im_start_end False --mm_use_im_patch_token False --image_aspect_ratio pad "
    "--group_by_modality_length True --lora_enable True --lora_r 8 --lora_alpha 16 --lora_dropout 0.1 "
    "--mm_projector_lr 2e-5 --learning_rate 2e-3 --lr_scheduler_type cosine --model_max_length 512 --report_to none "
    "--logging_steps 1 --num_train_epochs 4 --save_strategy steps --save_steps 3 --save_total_limit 2 "
    "--lazy_preprocess True --facial_prior_expert precomputed"
)
STEPS = 16


def command(output: str, stage: int | None) -> list[str]:
    if stage is None:
        return [sys.executable, SCRIPT, *FLAGS, "--per_device_train_batch_size", "2", "--output_dir", output]
    launcher = [str(Path(sys.executable).parent / "deepspeed"), "--num_gpus=2", f"--master_port={free_port()}"]
    config = ["--deepspeed", str(ROOT / "scripts" / f"zero{stage}_cpu.json")]
    return [*launcher, SCRIPT, *config, *FLAGS, "--per_device_train_batch_size", "1", "--output_dir", output]


def start(workspace: Path, output: str, stage: int | None) -> subprocess.Popen[bytes]:
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        command(output, stage),
        cwd=workspace,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": binaries},
        stdout=(workspace / f"{output}.log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def finish(workspace: Path, output: str, stage: int | None) -> str:
    """Run to the end; what the run has printed."""
    code = start(workspace, output, stage).wait(500)
    log = (workspace / f"{output}.log").read_text()
    assert code == 0, log[-4000:]
    return log


def kill_after(workspace: Path, output: str, stage: int | None, step: int) -> None:
    """Start the run and kill -9 all its processes as soon as the checkpoint of ``step`` is whole."""
    process = start(workspace, output, stage)
    manifest = workspace / output / f"checkpoint-{step}" / MANIFEST
    deadline = time.monotonic() + 400
    while not manifest.exists():
        assert process.poll() is None and time.monotonic() < deadline, (workspace / f"{output}.log").read_text()[-4000:]
        time.sleep(0.005)
    kill_tree(process.pid)
    process.wait()
    assert not (workspace / output / "trainer_state.json").exists()  # it had not come to its end


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {**read_weights(next(folder.glob("adapter_model.*"))), **read_weights(folder / "non_lora_trainables.bin")}


def losses(folder: Path) -> list[float]:
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


@pytest.mark.parametrize(
    ("stage", "tolerance"),
    [
        (None, 0.0),
        pytest.param(2, 1e-6, marks=pytest.mark.slow),
        pytest.param(3, 1e-6, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(copied, stage, tolerance):
    finish(copied, "whole", stage)
    kill_after(copied, "killed", stage, step=6)
    # What a kill in the middle of the next checkpoint would have left.
    shutil.copytree(copied / "killed" / "checkpoint-6", copied / "killed" / "checkpoint-9", dirs_exist_ok=True)
    (copied / "killed" / "checkpoint-9" / MANIFEST).unlink()
    log = finish(copied, "killed", stage)
    assert "checkpoint-9 is not complete" in log
    assert len(losses(copied / "killed")) == len(losses(copied / "whole")) == STEPS
    assert losses(copied / "killed") == pytest.approx(losses(copied / "whole"), abs=max(tolerance, 1e-12))
    expected, found = weights(copied / "whole"), weights(copied / "killed")
    assert found.keys() == expected.keys()
    assert max(float((found[name] - value).abs().max()) for name, value in expected.items()) <= tolerance
    whole, broken = checkpoints(copied / "killed")
    assert [path.name for path in whole][-1] == "checkpoint-15" and not broken


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    for step in (3, 12, 9):
        folder = tmp_path / f"checkpoint-{step}"
        (folder / "global_step").mkdir(parents=True)
        (folder / "global_step" / "weights.bin").write_bytes(b"1234")
        mark_complete(folder, ["b", "a"], processes=2)
    (tmp_path / "checkpoint-best").mkdir()
    return tmp_path


def test_the_newest_whole_checkpoint_is_found_by_number(run_folder):
    assert last_checkpoint(run_folder) == run_folder / "checkpoint-12"
    assert last_checkpoint(run_folder / "nothing") is None


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


def test_another_run_is_not_gone_on_with(run_folder):
    folder = run_folder / "checkpoint-3"
    check_same_run(folder, ["a", "b"], processes=2)
    with pytest.raises(UserError, match="saved by 2 processes, this run has 1"):
        check_same_run(folder, ["a", "b"], processes=1)
    with pytest.raises(UserError, match=r"trained other weights \(1 differ, such as c\)"):
        check_same_run(folder, ["a", "b", "c"], processes=2)


def test_a_checkpoint_without_the_other_weights_is_an_error(tmp_path):
    from llava_faba.training.resume import load_non_lora

    with pytest.raises(CheckpointError, match="non_lora_trainables"):
        load_non_lora(torch.nn.Linear(1, 1), tmp_path)
