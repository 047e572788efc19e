"""LLaVA's training programs, by ``llava-faba run`` and in a patched LLaVA."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, free_port, run_python

from llava_faba.model.checkpoints import read_weights

FLAGS = shlex.split(
    "--model_name_or_path base --version v1 --data_path data/train.json --image_folder data --output_dir out "
    "--vision_tower ./clip-tiny --mm_projector_type mlp2x_gelu --mm_vision_select_layer -2 --mm_use_im_start_end False "
    "--mm_use_im_patch_token False --image_aspect_ratio pad --per_device_train_batch_size 2 --lora_enable True "
    "--lora_r 8 --lora_alpha 16 --learning_rate 2e-3 --model_max_length 512 --report_to none --logging_steps 1 "
    "--max_steps 3 --save_strategy no --lazy_preprocess True"
)
EMOLA = ("--facial_prior_expert", "precomputed")
NO_FLASH = "flash attention 2 is not available here"


def check_trained(workspace: Path, *, emola: bool) -> dict[str, Any]:
    """The loss fell, and what was saved is EmoLA, or LLaVA; returns its config."""
    history = json.loads((workspace / "out" / "trainer_state.json").read_text())["log_history"]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    assert len(losses) == 3 and losses[-1] < losses[0]
    config = json.loads((workspace / "out" / "config.json").read_text())
    assert config["model_type"] == ("emollava" if emola else "llava_llama")
    trained = {name.split(".")[3] for name in read_weights(workspace / "out" / "non_lora_trainables.bin")}
    assert trained == ({"mm_projector", "landmark_feature_projector"} if emola else {"mm_projector"})
    return config


@pytest.mark.parametrize(
    "start",
    [pytest.param("run", marks=pytest.mark.slow), pytest.param("hook", marks=pytest.mark.newest)],
    indirect=True,
)
def test_train_mem_without_flash_attention(start, copied):
    result = start("llava.train.train_mem", *FLAGS, *EMOLA, cwd=copied)
    assert NO_FLASH in result.stderr
    check_trained(copied, emola=True)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["run", "hook"], indirect=True)
@pytest.mark.parametrize("emola", [True, False], ids=["EmoLA", "plain LLaVA"])
def test_train(start, copied, emola):
    result = start("llava.train.train", *FLAGS, *(EMOLA if emola else ()), cwd=copied)
    assert NO_FLASH not in result.stderr
    check_trained(copied, emola=emola)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["train.py", "train_mem.py"])
def test_the_files_of_a_patched_checkout(patched, copied, file):
    result = run_python(str(patched / "llava" / "train" / file), *FLAGS, *EMOLA, cwd=copied, path=patched)
    assert result.returncode == 0, result.stderr[-3000:]
    check_trained(copied, emola=True)


@pytest.mark.slow
def test_a_checkout_runs_by_its_files(patched, copied):
    """``llava-faba run FILE`` where the file is that of a module with seams."""
    file = str(patched / "llava" / "train" / "train.py")
    result = run_python("-m", "llava_faba", "run", file, *FLAGS, *EMOLA, cwd=copied, path=patched)
    assert result.returncode == 0, result.stderr[-3000:]
    check_trained(copied, emola=True)


@pytest.mark.slow
def test_deepspeed_in_a_patched_checkout(patched, copied):
    """``deepspeed llava/train/train_mem.py``, the command of LLaVA's scripts/v1_5/finetune_lora.sh, with our flag."""
    config = ("--deepspeed", str(ROOT / "scripts" / "zero2_cpu.json"))
    launch = ("-m", "deepspeed.launcher.runner", "--num_gpus", "2", "--master_port", str(free_port()))
    script = str(patched / "llava" / "train" / "train_mem.py")
    saving = ("--save_strategy", "steps", "--save_steps", "3")
    result = run_python(*launch, script, *config, *FLAGS, *saving, *EMOLA, cwd=copied, path=patched)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    check_trained(copied, emola=True)
    parts = (copied / "out" / "checkpoint-3" / "global_step3").glob("*zero_pp_rank_*_optim_states.pt")
    assert len(list(parts)) == 2  # of the optimizer, one by each process
