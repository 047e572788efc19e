"""What a checkpoint must hold besides LoRA."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import ADAPTER

import llava_faba
from llava_faba.training.saving import gather_non_lora, write_non_lora


@pytest.mark.parametrize("frozen", [False, True])
def test_projectors_are_saved_whether_they_were_trained_or_not(golden, registered, frozen, tmp_path):
    """Upstream saves what was trained; a checkpoint without its projector could not be loaded."""
    model = llava_faba.load_model(golden / ADAPTER)[1]
    model.requires_grad_(False)
    model.get_model().mm_projector.requires_grad_(not frozen)
    projector = model.get_model().landmark_feature_projector.requires_grad_(not frozen)
    state = gather_non_lora(model)
    assert {name.split(".")[1] for name in state} == {"mm_projector", "landmark_feature_projector"}
    write_non_lora(model, state, tmp_path)
    stored = torch.load(Path(tmp_path) / "non_lora_trainables.bin", weights_only=True)
    for name, value in projector.state_dict().items():
        assert torch.equal(stored[f"model.landmark_feature_projector.{name}"], value)


def test_a_plain_model_saves_what_upstream_saves(golden, monkeypatch):
    from llava.train import train

    monkeypatch.chdir(golden)
    model = llava_faba.load_model("base")[1].requires_grad_(False)
    model.get_model().mm_projector.requires_grad_(True)
    wanted = {name for name, value in model.named_parameters() if value.requires_grad}
    llava_faba.register()
    try:
        assert set(train.get_peft_state_non_lora_maybe_zero_3(model.named_parameters())) == wanted
    finally:
        llava_faba.unregister()
