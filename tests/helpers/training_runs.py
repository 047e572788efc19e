"""Training runs that tests start, kill and compare: real commands on the golden base, in processes of their own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from support import ROOT, free_port, kill_tree

from llava_faba.model.checkpoints import read_weights
from llava_faba.training.resume import MANIFEST

TIME_LIMIT = 1200  # seconds for a command of some ten; a machine may be busy
SCRIPT = str(ROOT / "scripts" / "train_emola.py")
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
    process = start(workspace, output, command)
    try:
        code = process.wait(TIME_LIMIT)
    except subprocess.TimeoutExpired:
        kill_tree(process.pid)
        raise
    log = (workspace / f"{output}.log").read_text()
    assert code == 0, log[-4000:]
    return log


def kill_after(workspace: Path, output: str, command: list[str], step: int) -> None:
    """Start the run and kill -9 all its processes as soon as the checkpoint of ``step`` is whole."""
    process = start(workspace, output, command)
    manifest = workspace / output / f"checkpoint-{step}" / MANIFEST
    deadline = time.monotonic() + TIME_LIMIT
    while not manifest.exists():
        assert process.poll() is None and time.monotonic() < deadline, (workspace / f"{output}.log").read_text()[-4000:]
        time.sleep(0.005)
    kill_tree(process.pid)
    process.wait()
    assert not (workspace / output / "trainer_state.json").exists()  # it had not come to its end


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The trained weights of a finished run or of a checkpoint, by name."""
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


def write_mixed(workspace: Path, times: int = 1) -> None:
    """data/mixed.json: six faces and two records that are text only, ``times`` over, each with another answer."""
    records = []
    for turn in range(times):
        copies = json.loads((workspace / "data" / "train.json").read_text())
        for record in copies[:2]:
            record.pop("image"), record.pop("landmark")
            record["conversations"][0]["value"] = "What is AU4?"
        for record in copies if turn else ():
            record["conversations"][1]["value"] += f" AU{turn}"
        records += copies
    (workspace / "data" / "mixed.json").write_text(json.dumps(records))
