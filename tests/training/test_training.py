"""Training through LLaVA's own train(), as a user starts it: real subprocesses on the golden base."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import llava_faba

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "train_emola.py"
LINEARS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
FLAGS = [
    "--model_name_or_path",
    "base",
    "--version",
    "v1",
    "--image_folder",
    "data",
    "--vision_tower",
    "./clip-tiny",
    "--mm_projector_type",
    "mlp2x_gelu",
    "--mm_vision_select_layer",
    "-2",
    "--mm_use_im_start_end",
    "False",
    "--mm_use_im_patch_token",
    "False",
    "--image_aspect_ratio",
    "pad",
    "--group_by_modality_length",
    "True",
    "--num_train_epochs",
    "4",
    "--per_device_train_batch_size",
    "2",
    "--lora_enable",
    "True",
    "--lora_r",
    "8",
    "--lora_alpha",
    "16",
    "--mm_projector_lr",
    "2e-5",
    "--learning_rate",
    "1e-3",
    "--model_max_length",
    "512",
    "--report_to",
    "none",
    "--logging_steps",
    "1",
    "--save_strategy",
    "steps",
    "--save_steps",
    "3",
    "--lazy_preprocess",
    "True",
]


@pytest.fixture
def workspace(golden: Path, tmp_path: Path) -> Path:
    shutil.copytree(golden, tmp_path / "golden")
    return tmp_path / "golden"


def train(workspace: Path, *extra: str, launcher: tuple[str, ...] = (sys.executable,), data="data/train.json"):
    command = [*launcher, str(SCRIPT), *FLAGS, "--data_path", data, "--output_dir", "out", *extra]
    return subprocess.run(
        command,
        cwd=workspace,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )


def check_trained(workspace: Path) -> None:
    out = workspace / "out"
    losses = [e["loss"] for e in json.loads((out / "trainer_state.json").read_text())["log_history"] if "loss" in e]
    assert losses[-1] < losses[0]
    assert set(json.loads((out / "adapter_config.json").read_text())["target_modules"]) == LINEARS
    for folder in (out, out / "checkpoint-3"):
        state = torch.load(folder / "non_lora_trainables.bin", weights_only=True)
        assert {name.split(".")[3] for name in state} == {"mm_projector", "landmark_feature_projector"}
        model = llava_faba.load_model(folder, workspace / "base")[1]
        assert model.config.facial_prior_expert == "precomputed"


def mixed_records(workspace: Path) -> str:
    """Faces with priors, a picture without one, and text only."""
    records = json.loads((workspace / "data/train.json").read_text())
    records[1].pop("landmark")
    for record in records[2:4]:
        record.pop("image"), record.pop("landmark")
        record["conversations"][0]["value"] = "What is AU4?"
    (workspace / "data/mixed.json").write_text(json.dumps(records))
    return "data/mixed.json"


def test_plain_process_on_mixed_records(workspace):
    result = train(workspace, "--facial_prior_expert", "precomputed", data=mixed_records(workspace))
    assert result.returncode == 0, result.stderr[-3000:]
    check_trained(workspace)


@pytest.mark.parametrize("zero", ["zero2_cpu", pytest.param("zero3_cpu", marks=pytest.mark.slow)])
def test_deepspeed_with_two_processes_on_mixed_records(workspace, zero):
    launcher = (str(Path(sys.executable).with_name("deepspeed")), "--num_gpus=2", "--master_port=29631")
    config = str(ROOT / "scripts" / f"{zero}.json")
    result = train(
        workspace,
        "--facial_prior_expert",
        "precomputed",
        "--deepspeed",
        config,
        launcher=launcher,
        data=mixed_records(workspace),
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    check_trained(workspace)
    states = list((workspace / "out/checkpoint-3/global_step3").glob("*optim_states.pt"))
    assert len(states) == 2  # each process saved its own part of the partitioned optimizer


def test_none_trains_plain_llava_on_the_same_records(workspace):
    result = train(workspace, "--facial_prior_expert", "none")
    assert result.returncode == 0, result.stderr[-3000:]
    config = json.loads((workspace / "out/config.json").read_text())
    assert config["model_type"] == "llava_llama" and "landmark_feature_hidden_size" not in config


def test_without_an_expert_the_choices_are_listed(workspace):
    result = train(workspace)
    assert result.returncode == 2
    assert "dlib-68" in result.stderr and "precomputed" in result.stderr


def test_unknown_expert_names_the_nearest(workspace):
    result = train(workspace, "--facial_prior_expert", "dlib68")
    assert result.returncode == 2 and "Did you mean 'dlib-68'" in result.stderr


def test_all_bad_records_are_listed_before_training(workspace):
    records = json.loads((workspace / "data/train.json").read_text())
    records[2]["image"] = "img/missing.png"
    (workspace / "data/lm/4.npy").write_bytes(b"no array")
    (workspace / "data/train.json").write_text(json.dumps(records))
    result = train(workspace, "--facial_prior_expert", "precomputed")
    assert result.returncode == 2
    assert "record 2 (2): image not found" in result.stderr and "record 4 (4)" in result.stderr
    skipped = train(workspace, "--facial_prior_expert", "precomputed", "--skip_bad_records", "True")
    assert skipped.returncode == 0, skipped.stderr[-2000:]


def test_help_explains_every_flag_of_ours_and_of_llavas(workspace):
    result = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True)
    assert result.returncode == 0
    for flag in ("facial_prior_expert", "facial_prior_store", "lora_r", "mm_projector_lr", "vision_tower"):
        assert f"--{flag}" in result.stdout
    assert "LoRA rank" in result.stdout and "Facial prior expert" in result.stdout
