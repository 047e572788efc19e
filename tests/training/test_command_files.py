"""scripts/emola_7b_*.sh: with a stand-in for the launcher, their flags parsed by LLaVA's own parser; and for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from training_runs import finish, losses
from transformers import HfArgumentParser

LAUNCHER = f"""#!{sys.executable}
import json, pathlib, sys
pathlib.Path("argv.json").write_text(json.dumps(sys.argv[1:]))
"""
# Design section 1 (arXiv 2404.05052, implementation details) and the flags of LLaVA's own finetune_lora.sh.
PAPER = {
    "lora_enable": True,
    "lora_r": 128,
    "lora_alpha": 256,
    "learning_rate": 1e-4,
    "mm_projector_lr": 2e-5,
    "facial_prior_projector_lr": None,
    "num_train_epochs": 1.0,
    "vision_tower": "openai/clip-vit-large-patch14-336",
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_select_layer": -2,
    "mm_use_im_start_end": False,
    "mm_use_im_patch_token": False,
    "image_aspect_ratio": "pad",
    "group_by_modality_length": True,
    "bf16": True,
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 1,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.03,
    "weight_decay": 0.0,
    "model_max_length": 2048,
    "gradient_checkpointing": True,
    "model_name_or_path": "liuhaotian/llava-v1.5-7b",
    "version": "v1",
    "facial_prior_expert": "precomputed",
    "facial_prior_size": 212,
    "facial_prior_normalization": "none",
    "freeze_facial_prior_projector": False,
    "bits": 16,
}


def arguments(script: Path, workspace: Path, *more: str) -> list[str]:
    """What the command file gives to ``deepspeed``."""
    launcher = workspace / "bin" / "deepspeed"
    launcher.parent.mkdir(exist_ok=True)
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    environment = {**os.environ, "PATH": f"{launcher.parent}{os.pathsep}{os.environ['PATH']}", "DATA": "my data"}
    subprocess.run(["bash", str(script), *more], cwd=workspace, env=environment, check=True)
    return json.loads((workspace / "argv.json").read_text())


@pytest.mark.parametrize("task", ["au", "emotion"])
def test_the_flags_are_the_papers(registered: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    from llava.train import train

    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")  # parsing --bf16 sets it
    program, *flags = arguments(ROOT / "scripts" / f"emola_7b_{task}.sh", tmp_path, "--use_cpu", "True")
    assert Path(program).resolve() == ROOT / "scripts" / "train_emola.py"
    # Left out, this normalizes, which the paper does not do.
    assert flags[flags.index("--facial_prior_normalization") + 1] == "none"
    config = flags[flags.index("--deepspeed") + 1]
    assert Path(config).name == "zero3.json" and json.loads(Path(config).read_text())["zero_optimization"]["stage"] == 3
    del flags[flags.index("--deepspeed") : flags.index("--deepspeed") + 2]  # it would start DeepSpeed here
    parser = HfArgumentParser((train.ModelArguments, train.DataArguments, train.TrainingArguments))
    parsed: dict[str, Any] = {}
    for group in parser.parse_args_into_dataclasses(flags):
        parsed |= vars(group)
    assert {name: parsed[name] for name in PAPER} == PAPER
    assert parsed["data_path"] == f"my data/FABAInstruct/train/train_{task}_anno.json"
    assert parsed["image_folder"] == "my data" and task in Path(parsed["output_dir"]).name


def test_a_users_own_flags_come_last(tmp_path: Path) -> None:
    flags = arguments(ROOT / "scripts" / "emola_7b_au.sh", tmp_path, "--num_train_epochs", "3", "--seed", "5")
    assert flags[-4:] == ["--num_train_epochs", "3", "--seed", "5"]


def test_the_two_files_differ_in_nothing_but_the_task() -> None:
    texts = {task: (ROOT / "scripts" / f"emola_7b_{task}.sh").read_text() for task in ("au", "emotion")}
    assert texts["emotion"].replace("emotion", "au").lower() == texts["au"].lower()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["au", "emotion"])
def test_it_trains_a_small_base_as_it_is(copied: Path, task: str) -> None:
    """The real launcher, ZeRO-3, bf16, rank 128; only what cannot be had here is named otherwise."""
    annotations = copied / "data" / "FABAInstruct" / "train" / f"train_{task}_anno.json"
    annotations.parent.mkdir(parents=True)
    annotations.write_text((copied / "data" / "train.json").read_text())
    small = ("--model_name_or_path", "base", "--vision_tower", "./clip-tiny", "--per_device_train_batch_size", "2")
    finish(copied, "training", ["bash", str(ROOT / "scripts" / f"emola_7b_{task}.sh"), *small])
    out = copied / "checkpoints" / f"llava-v1.5-7b-emola-{task}-lora"
    seen = losses(out)
    assert len(seen) == 4 and seen[-1] < seen[0]  # eight records, two at a time
    adapter = json.loads((out / "adapter_config.json").read_text())
    assert (adapter["r"], adapter["lora_alpha"]) == (128, 256)
    assert (out / "checkpoint-4" / "complete.json").is_file() and list((out / "runs").iterdir())
