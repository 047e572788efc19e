"""Data, store and expert that do not belong together: refused before the first step, with what to do.

These run LLaVA's ``train()`` in this process, up to where the trainer is made.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support import ADAPTER, PICTURES, edit_config

import llava_faba
from llava_faba.training.main import main

FLAGS = shlex.split(
    "--model_name_or_path base --version v1 --data_path data/train.json --image_folder data --output_dir out "
    "--vision_tower ./clip-tiny --mm_projector_type mlp2x_gelu --mm_vision_select_layer -2 "
    "--mm_use_im_patch_token False --image_aspect_ratio pad --lora_enable True --lora_r 8 --report_to none "
    "--max_steps 1"
)


@pytest.fixture
def refused(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Train with some flags; returns the error that the user reads."""
    from llava import conversation

    monkeypatch.setattr(conversation, "default_conversation", conversation.default_conversation)
    monkeypatch.chdir(copied)

    def train(*flags: str) -> str:
        monkeypatch.setattr(sys, "argv", ["train_emola.py", *FLAGS, *flags])
        assert main() == 2
        assert not (copied / "out" / "config.json").exists()
        return capsys.readouterr().err

    yield train
    llava_faba.unregister()


def write_store(folder: Path, expert: str) -> str:
    from llava_faba.priors.writer import PriorStoreWriter, Row

    with PriorStoreWriter(folder / "store", expert=expert, version="1", settings={}, size=136) as writer:
        writer.append(Row(f"img/{n}.png", np.ones(136, np.float32), "found", PICTURES) for n in range(8))
    return str(folder / "store")


def test_vectors_of_another_size_than_the_experts(refused):
    error = refused("--facial_prior_expert", "dlib-68")
    assert "the data's facial priors have 212 numbers, but expert 'dlib-68'" in error and "need 136" in error


def test_a_store_of_another_expert(refused, tmp_path):
    store = write_store(tmp_path, "face-alignment-2d")
    error = refused("--facial_prior_expert", "dlib-68", "--facial_prior_store", store)
    assert "made by expert 'face-alignment-2d', not by 'dlib-68'" in error
    assert "--facial_prior_expert face-alignment-2d" in error


def test_records_without_any_prior(refused, copied):
    path = copied / "data" / "train.json"
    path.write_text(json.dumps([{k: v for k, v in r.items() if k != "landmark"} for r in json.loads(path.read_text())]))
    error = refused("--facial_prior_expert", "precomputed")
    assert "no record has a facial prior" in error and "--facial_prior_expert none" in error


def test_a_prior_without_a_single_face_cannot_be_normalized(refused, copied):
    for path in (copied / "data" / "lm").glob("*.npy"):
        np.save(path, np.zeros(212, np.float32))
    error = refused("--facial_prior_expert", "precomputed", "--facial_prior_normalization", "standardize")
    assert "no prior holds a face" in error


def test_a_base_that_was_trained_on_another_size(refused, copied, tmp_path):
    tokenizer, model, _, _ = llava_faba.load_model(copied / ADAPTER)
    model.save_pretrained(tmp_path / "llava-emola")
    tokenizer.save_pretrained(tmp_path / "llava-emola")
    edit_config(tmp_path / "llava-emola", mm_vision_tower="./clip-tiny")
    error = refused("--model_name_or_path", str(tmp_path / "llava-emola"), "--facial_prior_expert", "dlib-68")
    assert "trained on priors of size 212" in error and "'dlib-68' gives 136" in error


def test_an_identity_projector_of_another_size(refused):
    error = refused("--facial_prior_expert", "precomputed", "--facial_prior_projector_type", "identity")
    assert "'identity' needs priors of the model's hidden size 64" in error


def test_a_projector_file_that_does_not_fit(refused, copied):
    file = str(copied / ADAPTER / "landmark_feature_projector.bin")
    error = refused(
        "--facial_prior_expert", "precomputed", "--facial_prior_size", "10", "--pretrain_facial_prior_projector", file
    )
    assert "landmark_feature_projector.bin: the prior projector does not fit this model" in error


def test_all_bad_records_are_listed(refused, copied):
    (copied / "data" / "lm" / "4.npy").write_bytes(b"no array")
    (copied / "data" / "img" / "2.png").unlink()
    error = refused("--facial_prior_expert", "precomputed")
    assert "2 records have problems" in error and "record 2 (2): image not found" in error and "record 4 (4)" in error


def test_the_pretraining_stage_of_the_image_projector(refused):
    """It would end with exit code 0 and a prior projector that was never trained."""
    error = refused("--facial_prior_expert", "precomputed", "--tune_mm_mlp_adapter", "True", "--lora_enable", "False")
    assert "the prior projector would stay random" in error and "--facial_prior_expert none" in error
