"""Training in this process, on a copy of the golden base: seconds less than a process of its own."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llava_faba
from llava_faba.training.main import main

FLAGS = shlex.split(
    "--model_name_or_path base --version v1 --image_folder data --vision_tower ./clip-tiny "
    "--mm_projector_type mlp2x_gelu --mm_vision_select_layer -2 --mm_use_im_start_end False "
    "--mm_use_im_patch_token False --image_aspect_ratio pad --group_by_modality_length True "
    "--per_device_train_batch_size 2 --lora_r 8 --lora_alpha 16 --mm_projector_lr 2e-5 --learning_rate 2e-3 "
    "--model_max_length 512 --logging_steps 1 --lazy_preprocess True --facial_prior_expert precomputed"
)


@pytest.fixture
def train(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """``train_emola.py FLAGS --output_dir OUT MORE`` in the copied folder; returns the exit code."""
    from accelerate.state import AcceleratorState
    from llava import conversation

    # Parsing --bf16 in another test leaves its mark in the environment and in accelerate's one state.
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    AcceleratorState._reset_state()
    monkeypatch.setattr(conversation, "default_conversation", conversation.default_conversation)
    monkeypatch.chdir(copied)

    def run(output: str, *flags: str) -> int:
        given = [] if "--data_path" in flags else ["--data_path", "data/train.json"]
        given += [] if "--report_to" in flags else ["--report_to", "none"]
        monkeypatch.setattr(sys, "argv", ["train_emola.py", *FLAGS, *given, "--output_dir", output, *flags])
        return main()

    yield run
    llava_faba.unregister()


@pytest.fixture
def model_flags() -> list[str]:
    """The flags of ``train``, for tests that start processes."""
    return FLAGS


@pytest.fixture
def evaluation_records(copied: Path) -> list[dict[str, Any]]:
    """Five records of the golden data as an evaluation set, also written to data/eval.json."""
    records = [
        {
            "id": f"e{record['id']}",
            "image": record["image"],
            "label": "1, 4, 12",
            "gpt4": record["conversations"][1]["value"],
            "landmark": record["landmark"],
        }
        for record in json.loads((copied / "data" / "train.json").read_text())[:5]
    ]
    (copied / "data" / "eval.json").write_text(json.dumps(records))
    return records
