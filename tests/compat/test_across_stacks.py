"""What one stack trains and saves gives the same logits and answers on the other; a run stays on its own.

``make test-newest`` names the other stack's Python in LLAVA_FABA_OTHER_PYTHON.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support import ADAPTER, IMAGE_TOKEN, ROOT, edit_config

from llava_faba.model.checkpoints import read_weights

OTHER = os.environ.get("LLAVA_FABA_OTHER_PYTHON", "")
PYTHONS = {"here": sys.executable, "there": OTHER}
TRAIN = str(ROOT / "scripts" / "train_emola.py")
pytestmark = pytest.mark.skipif(
    not OTHER, reason="LLAVA_FABA_OTHER_PYTHON names no other stack; 'make test-newest' does"
)
FLAGS = shlex.split(
    "--model_name_or_path base --version v1 --image_folder data --data_path data/train.json --vision_tower ./clip-tiny "
    "--mm_projector_type mlp2x_gelu --mm_vision_select_layer -2 --mm_use_im_start_end False "
    "--mm_use_im_patch_token False --image_aspect_ratio pad --group_by_modality_length True "
    "--per_device_train_batch_size 4 --lora_enable True --lora_r 8 --lora_alpha 16 --learning_rate 2e-3 "
    "--model_max_length 512 --report_to none --save_strategy steps --save_steps 2 --warmup_ratio 0.03 "
    "--evaluation_strategy no --lazy_preprocess True --facial_prior_expert precomputed"
)
# Loads each folder, writes its logits and greedy ids, and saves the first one merged.
PROGRAM = f"""
import sys, numpy, torch, llava_faba
report, merged, *folders = sys.argv[1:]
found = {{}}
for number, folder in enumerate(folders):
    tokenizer, model, _, _ = llava_faba.load_model(folder)
    ids = torch.tensor([[1, {IMAGE_TOKEN}, *tokenizer("A chat</s>USER: AU4").input_ids[1:]]])
    inputs = dict(images=torch.ones(1, 3, 56, 56), facial_priors=torch.linspace(-1, 1, 212)[None])
    with torch.no_grad():
        found[f"logits{{number}}"] = model(input_ids=ids, **inputs).logits.numpy()
    answer = model.generate(input_ids=ids, do_sample=False, max_new_tokens=12, **inputs)[0].tolist()
    found[f"answer{{number}}"] = answer[1:] if answer[0] == model.config.bos_token_id else answer
    if number == 0 and merged:
        model.save_pretrained(merged), tokenizer.save_pretrained(merged)
numpy.savez(report, **found)
"""


def start(python: str, workspace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *arguments],
        cwd=workspace,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def run(python: str, workspace: Path, *arguments: str) -> None:
    result = start(python, workspace, *arguments)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.fixture(scope="module")
def trained(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run of two steps of each stack, ``here`` and ``there``."""
    workspace = Path(shutil.copytree(golden, tmp_path_factory.mktemp("trained") / "golden"))
    for name, python in PYTHONS.items():
        run(python, workspace, TRAIN, *FLAGS, "--max_steps", "2", "--output_dir", name)
    return workspace


@pytest.mark.newest
def test_checkpoints_of_one_stack_load_on_the_other(trained):
    adapters = ["here", "there/checkpoint-2", "there", "here/checkpoint-2"]
    run(PYTHONS["here"], trained, "-c", PROGRAM, "here.npz", "merged", *adapters)
    run(PYTHONS["there"], trained, "-c", PROGRAM, "there.npz", "", *adapters, "merged")
    with np.load(trained / "here.npz") as here, np.load(trained / "there.npz") as there:
        for number in range(len(adapters)):
            assert np.abs(here[f"logits{number}"] - there[f"logits{number}"]).max() < 1e-4
            assert here[f"answer{number}"].tolist() == there[f"answer{number}"].tolist()
        merged = len(adapters)
        assert np.abs(here["logits0"] - there[f"logits{merged}"]).max() < 1e-4


@pytest.mark.newest
@pytest.mark.parametrize(("begun", "continued"), [("here", "there"), ("there", "here")])
def test_a_run_begun_on_one_stack_is_not_continued_on_the_other(trained, tmp_path, begun, continued):
    """Neither reads the other's trainer state; the user is told so, and what is there is left alone."""
    output = Path(shutil.copytree(trained / begun / "checkpoint-2", tmp_path / "out" / "checkpoint-2")).parent
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    arguments = (*FLAGS, "--max_steps", "3", "--output_dir", str(output))
    result = start(PYTHONS[continued], trained, TRAIN, *arguments)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "checkpoint-2 was saved with transformers" in result.stderr
    assert "Finish the run with the packages that it was begun with" in result.stderr
    after = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    after.pop(output / ".training.lock")  # the run's own; it stays
    assert before == after


@pytest.mark.parametrize(
    "flags",
    [pytest.param((), marks=pytest.mark.newest), pytest.param(("--bf16", "True"), marks=pytest.mark.slow)],
    ids=["float32", "bf16"],
)
def test_a_float16_base_is_trained_in_the_type_asked_for(copied, flags):
    """As LLaVA-1.5's own files are; newer transformers load them in the type that they are saved in."""
    path = copied / "base" / "pytorch_model.bin"
    torch.save({name: value.half() for name, value in read_weights(path).items()}, path)
    edit_config(copied / "base", torch_dtype="float16")
    # A given projector: no weight that is drawn is heard in the first loss.
    projector = ("--pretrain_facial_prior_projector", ADAPTER, "--facial_prior_normalization", "none")
    losses = {}
    for name, python in PYTHONS.items():
        run(
            python,
            copied,
            TRAIN,
            *FLAGS,
            *projector,
            *flags,
            "--max_steps",
            "2",
            "--logging_steps",
            "1",
            "--output_dir",
            name,
        )
        trained = {**read_weights(copied / name / "non_lora_trainables.bin")}
        trained |= read_weights(copied / name / "adapter_model.safetensors")
        types = {value.dtype for weight, value in trained.items() if "landmark" not in weight}
        assert types == {torch.bfloat16 if flags else torch.float32}
        history = json.loads((copied / name / "trainer_state.json").read_text())["log_history"]
        losses[name] = next(entry["loss"] for entry in history if "loss" in entry)
    assert abs(float(losses["here"]) - float(losses["there"])) < (2e-2 if flags else 2e-4), losses
