"""Stages that train projectors alone, and starting from a projector that was trained before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support import ADAPTER, write_malicious_pickle

import llava_faba
from llava_faba.model.checkpoints import read_weights
from llava_faba.model.projector import projector_state

STAGE = ("--tune_facial_prior_projector", "True", "--max_steps", "2", "--save_strategy", "no")
LORA = ("--lora_enable", "True", "--max_steps", "1", "--save_strategy", "no")


def projectors(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The image projector's and the prior projector's weights in a stage's folder."""
    return read_weights(folder / "mm_projector.bin"), read_weights(folder / "landmark_feature_projector.bin")


def base_weights(workspace: Path) -> dict[str, torch.Tensor]:
    return read_weights(workspace / "base" / "pytorch_model.bin")


@pytest.mark.newest
@pytest.mark.parametrize("both", [False, True])
def test_a_stage_trains_and_saves_projectors_and_nothing_else(train, copied, both):
    assert (
        train("stage", *STAGE, "--tune_mm_mlp_adapter", str(both), "--save_strategy", "steps", "--save_steps", "1") == 0
    )
    image, prior = projectors(copied / "stage")
    assert {name.split(".")[1] for name in (*image, *prior)} == {"mm_projector", "landmark_feature_projector"}
    untrained = base_weights(copied)
    assert all(torch.equal(value, untrained[name]) is not both for name, value in image.items())
    _, earlier = projectors(copied / "stage" / "checkpoint-1")
    assert not any(torch.equal(value, earlier[name]) for name, value in prior.items())
    assert {path.suffix for path in (copied / "stage").glob("*model*")} == set()
    check_loads(copied, image, prior)


def check_loads(workspace: Path, image: dict[str, torch.Tensor], prior: dict[str, torch.Tensor]) -> None:
    """Ours and LLaVA's own loader put the projectors on the base, as they do with LLaVA's pretraining stage."""
    from llava.model.builder import load_pretrained_model

    llava_faba.register()
    ours = llava_faba.load_model(workspace / "stage", dtype=torch.float16)[1].state_dict()
    theirs = load_pretrained_model("stage", "base", "llava-v1", device="cpu")[1].state_dict()
    for name, value in {**base_weights(workspace), **image, **prior}.items():
        if name in ours:
            assert torch.equal(ours[name], value.half()) and torch.equal(theirs[name], value.half()), name


def test_the_next_stage_goes_on_from_it(train, copied):
    assert train("stage", *STAGE, "--tune_mm_mlp_adapter", "True") == 0
    image, prior = projectors(copied / "stage")
    flags = ("--pretrain_mm_mlp_adapter", "stage/mm_projector.bin", "--pretrain_facial_prior_projector", "stage")
    frozen = ("--freeze_facial_prior_projector", "True", "--freeze_mm_mlp_adapter", "True")
    assert train("out", *LORA, *flags, *frozen) == 0
    model = llava_faba.load_model(copied / "out", copied / "base")[1].state_dict()
    assert all(torch.equal(model[name], value) for name, value in {**image, **prior}.items())
    before, after = (json.loads((copied / name / "config.json").read_text()) for name in ("stage", "out"))
    assert after["facial_prior_statistics"] == before["facial_prior_statistics"]


@pytest.mark.parametrize("name", ["", "landmark_feature_projector.bin", "non_lora_trainables.bin"])
def test_both_formats_and_the_folder_are_read(train, copied, name):
    """The reference overwrites a pretrained projector with a fresh one (design section 10)."""
    source = copied / ADAPTER
    wanted = projector_state(read_weights(source / "landmark_feature_projector.bin"))
    flags = ("--pretrain_facial_prior_projector", str(source / name), "--freeze_facial_prior_projector", "True")
    assert train("out", *LORA, *flags, "--facial_prior_normalization", "none") == 0
    found = projector_state(read_weights(copied / "out" / "non_lora_trainables.bin"))
    assert found.keys() == wanted.keys() and all(torch.equal(found[key], value) for key, value in wanted.items())


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ((*STAGE, "--freeze_facial_prior_projector", "True"), "exclude each other"),
        ((*STAGE, "--facial_prior_expert", "none"), "needs a --facial_prior_expert"),
        ((*STAGE, "--tune_mm_mlp_adapter", "True", "--lora_enable", "True"), "--tune_facial_prior_projector True"),
        ((*LORA, "--pretrain_facial_prior_projector", ADAPTER), "--facial_prior_normalization none"),
        ((*LORA, "--pretrain_facial_prior_projector", "base"), "landmark_feature_projector.bin: no such file"),
        ((*LORA, "--pretrain_facial_prior_projector", "base/pytorch_model.bin"), "no weights named"),
    ],
    ids=["frozen and tuned", "no prior", "lora", "normalization", "no file", "no projector"],
)
def test_what_does_not_go_together_is_refused(train, copied, capsys, flags, told):
    assert train("out", *flags) == 2
    assert told in capsys.readouterr().err and not (copied / "out" / "config.json").exists()


def test_a_stage_is_not_resumed(train, copied, capsys):
    (copied / "stage" / "checkpoint-1").mkdir(parents=True)
    assert train("stage", *STAGE) == 2 and "cannot be resumed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "flags", "expert"),
    [
        ("base/pytorch_model.bin", (), "precomputed"),
        ("base/pytorch_model.bin", (), "none"),
        ("clip-tiny/pytorch_model.bin", (), "precomputed"),
        ("clip-tiny/pytorch_model.bin", (), "none"),
        ("evil/mm_projector.bin", ("--pretrain_mm_mlp_adapter", "evil/mm_projector.bin"), "precomputed"),
        ("evil/mm_projector.bin", ("--pretrain_mm_mlp_adapter", "evil/mm_projector.bin"), "none"),
        ("evil/landmark_feature_projector.bin", ("--pretrain_facial_prior_projector", "evil"), "precomputed"),
        ("evil/non_lora_trainables.bin", ("--pretrain_facial_prior_projector", "evil"), "precomputed"),
    ],
)
def test_a_malicious_file_does_not_run_at_the_start_of_training(
    train, copied, tmp_path, capsys, monkeypatch, file, flags, expert
):
    # Older torch, which LLaVA's git tree pins, unpickles everything unless told otherwise.
    safe_load = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **more: safe_load(*args, **{"weights_only": False, **more}))
    (copied / file).parent.mkdir(exist_ok=True)
    write_malicious_pickle(copied / file, tmp_path / "mark")
    assert train("out", *LORA, *flags, "--facial_prior_expert", expert) == 2
    assert "could run code" in capsys.readouterr().err and not (tmp_path / "mark").exists()
