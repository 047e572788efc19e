"""What one stack trains and saves gives the same logits and answers on the other.

``make test-newest`` names the other stack's Python in LLAVA_FABA_OTHER_PYTHON.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import IMAGE_TOKEN, ROOT

pytestmark = pytest.mark.newest

OTHER = os.environ.get("LLAVA_FABA_OTHER_PYTHON", "")
FLAGS = shlex.split(
    "--model_name_or_path base --version v1 --image_folder data --data_path data/train.json --vision_tower ./clip-tiny "
    "--mm_projector_type mlp2x_gelu --mm_vision_select_layer -2 --mm_use_im_start_end False "
    "--mm_use_im_patch_token False --image_aspect_ratio pad --group_by_modality_length True "
    "--per_device_train_batch_size 4 --lora_enable True --lora_r 8 --lora_alpha 16 --learning_rate 2e-3 "
    "--model_max_length 512 --report_to none --max_steps 2 --save_strategy steps --save_steps 2 --warmup_ratio 0.03 "
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


def run(python: str, workspace: Path, *arguments: str) -> None:
    result = subprocess.run(
        [python, *arguments],
        cwd=workspace,
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.skipif(not OTHER, reason="LLAVA_FABA_OTHER_PYTHON names no other stack; 'make test-newest' does")
def test_checkpoints_of_one_stack_load_on_the_other(copied):
    pythons = {"here": sys.executable, "there": OTHER}
    for name, python in pythons.items():
        run(python, copied, str(ROOT / "scripts" / "train_emola.py"), *FLAGS, "--output_dir", name)
    adapters = ["here", "there/checkpoint-2", "there", "here/checkpoint-2"]
    run(pythons["here"], copied, "-c", PROGRAM, "here.npz", "merged", *adapters)
    run(pythons["there"], copied, "-c", PROGRAM, "there.npz", "", *adapters, "merged")
    with np.load(copied / "here.npz") as here, np.load(copied / "there.npz") as there:
        for number in range(len(adapters)):
            assert np.abs(here[f"logits{number}"] - there[f"logits{number}"]).max() < 1e-4
            assert here[f"answer{number}"].tolist() == there[f"answer{number}"].tolist()
        merged = len(adapters)
        assert np.abs(here["logits0"] - there[f"logits{merged}"]).max() < 1e-4
