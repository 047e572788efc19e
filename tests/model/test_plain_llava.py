"""Checkpoints without a prior behave as if the plugin were not there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from llava.model import builder
from llava.model.language_model.llava_llama import LlavaLlamaForCausalLM
from support import IMAGE_TOKEN, SIDE, edit_config, write_malicious_pickle

import llava_faba
from llava_faba.compat.half import cpu_has_half
from llava_faba.errors import CheckpointError

needs_half = pytest.mark.skipif(not cpu_has_half(), reason="LLaVA itself cannot answer on a CPU with this torch")
IDS = torch.tensor([[1, 5, 6, IMAGE_TOKEN, 7, 8, 9]])


def image() -> torch.Tensor:
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@contextlib.contextmanager
def plugin(wanted: bool) -> Iterator[None]:
    if wanted:
        llava_faba.register()
    try:
        yield
    finally:
        llava_faba.unregister()


def observe(path: str | Path, base: str | Path | None, name: str) -> dict[str, Any]:
    """What upstream's builder makes of a checkpoint, and what comes out of it."""
    _, model, processor, context = builder.load_pretrained_model(
        str(path), None if base is None else str(base), name, device="cpu"
    )
    with torch.no_grad():
        logits = model(input_ids=IDS, images=image().half()).logits
        tokens = model.generate(IDS, images=image().half(), do_sample=False, max_new_tokens=12)
        text = model(input_ids=torch.tensor([[1, 5, 6]])).logits
    return {
        "class": type(model),
        "config": model.config.to_dict(),
        "processor": processor.to_dict(),
        "context": context,
        "weights": model.state_dict(),
        "logits": logits,
        "tokens": tokens,
        "text": text,
    }


def check_same(without: dict[str, Any], within: dict[str, Any]) -> None:
    for key in ("class", "config", "processor", "context"):
        assert without[key] == within[key]
    for key in ("logits", "tokens", "text"):
        assert torch.equal(without[key], within[key])
    assert list(without["weights"]) == list(within["weights"])
    assert all(torch.equal(without["weights"][name], within["weights"][name]) for name in without["weights"])


@pytest.fixture
def plain_lora(copied: Path) -> Path:
    """The golden adapter with everything that speaks of a prior taken out: an ordinary LLaVA LoRA folder."""
    folder = copied / "llava-v1-lora-emola-tiny"
    (folder / "landmark_feature_projector.bin").unlink()
    state = torch.load(folder / "non_lora_trainables.bin", weights_only=True)
    torch.save(
        {name: value for name, value in state.items() if "landmark" not in name}, folder / "non_lora_trainables.bin"
    )
    edit_config(folder, remove=("landmark_feature_hidden_size",), model_type="llava_llama")
    return folder


@needs_half
def test_full_checkpoint_is_bit_identical_and_of_upstreams_class(copied, monkeypatch):
    monkeypatch.chdir(copied)
    found = []
    for wanted in (False, True):
        with plugin(wanted):
            found.append(observe("base", None, "llava-v1-base"))
    check_same(*found)
    assert found[0]["class"] is LlavaLlamaForCausalLM


@needs_half
def test_lora_checkpoint_is_bit_identical(plain_lora, copied, monkeypatch):
    monkeypatch.chdir(copied)
    found = []
    for wanted in (False, True):
        with plugin(wanted):
            found.append(observe(plain_lora, "base", "llava-v1-lora"))
    check_same(*found)
    assert found[0]["class"] is LlavaLlamaForCausalLM


@pytest.mark.parametrize("which", ["base", "lora"])
def test_load_model_gives_upstreams_class_and_numbers(which, plain_lora, copied, monkeypatch):
    monkeypatch.chdir(copied)
    path, base, name = ("base", None, "llava-v1") if which == "base" else (plain_lora, "base", "llava-v1-lora")
    model = llava_faba.load_model(path, base)[1]
    upstream = builder.load_pretrained_model(str(path), base, name, device="cpu")[1].float()
    assert type(model) is LlavaLlamaForCausalLM
    with torch.no_grad():
        ours, theirs = (one(input_ids=IDS, images=image()).logits for one in (model, upstream))
    assert torch.allclose(ours, theirs, atol=5e-3)  # upstream's went through float16


def test_a_folder_that_does_not_exist_gives_upstreams_own_error(registered):
    with pytest.raises(OSError, match="no-such-model"):
        builder.load_pretrained_model("./no-such-model", None, "llava-v1", device="cpu")


def test_load_model_reads_plain_checkpoints_as_carefully(copied, tmp_path):
    write_malicious_pickle(copied / "base" / "pytorch_model.bin", tmp_path / "mark")
    with pytest.raises(CheckpointError, match="could run code"):
        llava_faba.load_model(copied / "base")
    assert not (tmp_path / "mark").exists()
