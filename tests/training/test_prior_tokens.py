"""Several tokens of a prior, trained, resumed, saved and loaded; by every engine in the slow tier."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support import PICTURES
from training_runs import LORA, Run, finish, kill_after, largest_difference, losses, write_mixed

import llava_faba
from llava_faba.experts.regions import POINTS_106
from llava_faba.model.checkpoints import read_weights
from llava_faba.priors.store import PriorStore
from llava_faba.priors.writer import PriorStoreWriter, Row

# 212 numbers: 106 points. insightface-106's lie in the padded picture, which the guided kind needs.
EXPERTS = {"regions": "emola-106", "regions+global": "emola-106", "guided_cross_attention": "insightface-106"}
STEPS = ("--lora_enable", "True", "--max_steps", "2", "--save_strategy", "steps", "--save_steps", "1")


def _flags(kind: str) -> tuple[str, ...]:
    return (
        "--facial_prior_expert",
        EXPERTS[kind],
        "--facial_prior_tokens",
        kind,
        "--facial_prior_normalization",
        "none",
    )


@pytest.mark.parametrize("kind", ["regions+global", "guided_cross_attention"])
def test_it_is_trained_saved_and_loaded_and_not_gone_on_with_otherwise(train, copied, capsys, kind):
    assert train("out", *STEPS, *_flags(kind)) == 0
    config = json.loads((copied / "out" / "config.json").read_text())
    assert config["facial_prior_tokens"] == kind
    assert [region["name"] for region in config["facial_prior_regions"]] == list(POINTS_106)
    first, last = (read_weights(copied / folder / "non_lora_trainables.bin") for folder in ("out/checkpoint-1", "out"))
    ours = [name for name in last if "landmark_feature_projector" in name]
    assert len(ours) == {"regions+global": 22, "guided_cross_attention": 30}[kind]
    assert all(not torch.equal(first[name], last[name]) for name in ours if "key.bias" not in name)
    state = llava_faba.load_model(copied / "out", copied / "base").model.state_dict()
    for name in ours:
        assert torch.equal(state[name.removeprefix("base_model.model.")], last[name].float())
    other = "regions" if kind == "regions+global" else "regions+global"
    capsys.readouterr()
    assert train("out", *STEPS, *_flags(kind)[:3], other, "--facial_prior_normalization", "none") == 2
    assert f"facial_prior_tokens was {kind}, is {other}" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(EXPERTS))
@pytest.mark.parametrize("stage", [2, 3])
def test_killed_and_gone_on_with_under_zero_it_is_the_same_run(copied: Path, kind: str, stage: int) -> None:
    """Two processes; texts alone among the records, whose dummy pictures run the projector as well."""
    write_mixed(copied)
    run = Run(processes=2, stage=stage, flags=(*LORA, *_flags(kind)), kill_after=3)
    finish(copied, "whole", run.command("whole"))
    kill_after(copied, "killed", run.command("killed"), run.kill_after)
    assert "Going on from killed/checkpoint-3." in finish(copied, "killed", run.command("killed"))
    assert largest_difference(copied / "killed", copied / "whole") <= 1e-6
    assert llava_faba.load_model(copied / "whole", copied / "base").model.config.facial_prior_tokens == kind


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--facial_prior_expert", "precomputed", "--facial_prior_tokens", "regions"), "no regions of a face"),
        (("--facial_prior_expert", "dlib-68", "--facial_prior_tokens", "region"), "choose one of global, experts"),
        (("--facial_prior_expert", "dlib-68", "--facial_prior_tokens", "experts"), "is one expert"),
        (("--facial_prior_expert", "emola-106", "--facial_prior_tokens", "guided_cross_attention"), "no place"),
    ],
)
def test_what_cannot_be_is_refused_before_training(train, capsys, flags, words):
    assert train("out", *STEPS, *flags) == 2
    assert words in capsys.readouterr().err


def test_a_guided_model_of_cropped_pictures_is_refused_before_training(train, capsys):
    flags = _flags("guided_cross_attention")
    assert train("out", *STEPS, *flags, "--image_aspect_ratio", "square") == 2
    assert "image_aspect_ratio must be 'pad'" in capsys.readouterr().err


def test_a_store_of_two_experts_is_trained_with_a_token_each(train, copied, capsys):
    """Of one picture the second expert found no face: said, kept as zeros, and left out of its statistics."""
    random, name = np.random.default_rng(0), "dlib-68+blendshapes-52"
    described = {"expert": name, "version": "1+1", "settings": {"dlib-68.upsample": 0}, "size": 188}
    with PriorStoreWriter(copied / "store", **described) as writer:
        for number in range(8):
            prior = random.normal(size=188).astype(np.float32)
            prior[136:] *= number > 0
            writer.append([Row(f"img/{number}.png", prior, "found", PICTURES)])
    flags = (*STEPS, "--facial_prior_expert", name, "--facial_prior_store", "store", "--facial_prior_tokens", "experts")
    assert train("out", *flags) == 0
    said = capsys.readouterr()
    assert "8 have one, 0 with several faces, 1 without the numbers of one of the experts" in said.out
    assert "1 of 8 records (12%) have zeros for one of the experts" in said.err
    config = json.loads((copied / "out" / "config.json").read_text())
    assert config["facial_prior_normalization"] == "pose+standardize" and config["facial_prior_sizes"] == [136, 52]
    assert config["facial_prior_expert_version"] == "1+1"
    assert config["facial_prior_expert_settings"] == {"dlib-68.upsample": 0}
    with PriorStore.open(copied / "store") as store:
        shapes = np.stack([store.get(f"img/{number}.png")[136:] for number in range(1, 8)])
    assert np.allclose(config["facial_prior_statistics"]["mean"][136:], shapes.mean(axis=0), atol=1e-6)
    model = llava_faba.load_model(copied / "out", copied / "base").model
    assert model.encode_facial_priors(torch.ones(1, 188)).shape[:2] == (1, 2)
    assert train("other", *flags[:-5], "blendshapes-52+dlib-68", *flags[-4:]) == 2
    assert "was made by expert 'dlib-68+blendshapes-52', not by 'blendshapes-52+dlib-68'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(EXPERTS))
def test_zero_3_trains_what_zero_2_trains(copied: Path, kind: str) -> None:
    write_mixed(copied)
    short = ("--max_steps", "2", "--save_strategy", "no", "--lora_dropout", "0")
    for stage in (2, 3):
        run = Run(processes=2, stage=stage, flags=(*LORA, *_flags(kind), *short))
        finish(copied, f"zero{stage}", run.command(f"zero{stage}"))
    # Adam's first steps are as long for a gradient of rounding noise as for any other: a twentieth of one step.
    assert largest_difference(copied / "zero3", copied / "zero2") <= 1e-4
    assert losses(copied / "zero3") == pytest.approx(losses(copied / "zero2"), abs=1e-4)
    written = read_weights(copied / "zero3" / "non_lora_trainables.bin")
    assert any("landmark_feature_projector" in name for name in written)
    assert llava_faba.load_model(copied / "zero3", copied / "base").model.config.facial_prior_tokens == kind
