"""What training writes, loaded by LLaVA's own builder, by ours and after merging: one model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llava.model import builder
from support import ADAPTER, run_python

import llava_faba
from llava_faba.cli.main import main
from llava_faba.model.checkpoints import read_weights
from llava_faba.model.emola import EmolaLlamaForCausalLM

STEPS = ("--max_steps", "2", "--save_strategy", "steps", "--save_steps", "1", "--lr_scheduler_type", "constant")
# LLaVA's scripts/merge_lora_weights.py, which the wheel does not hold, does this with --model-path and the like.
MERGE = """
import sys
from llava.model.builder import load_pretrained_model
tokenizer, model, _, _ = load_pretrained_model(sys.argv[1], sys.argv[2], "llava-v1-lora", device_map="cpu")
model.save_pretrained(sys.argv[3])
tokenizer.save_pretrained(sys.argv[3])
"""


def upstream(folder: Path, base: Path | None = None) -> Any:
    """LLaVA's own loading, in float16, which it hard-codes."""
    model = builder.load_pretrained_model(str(folder), base and str(base), folder.name, device="cpu")[1]
    assert isinstance(model, EmolaLlamaForCausalLM)
    model.get_vision_tower().to(torch.float16)
    return model


def ours(folder: Path, dtype: torch.dtype = torch.float32, base: Path | None = None) -> Any:
    return llava_faba.load_model(folder, base, dtype=dtype)[1]


def logits(model: Any, golden: Path, record: int = 2) -> torch.Tensor:
    with np.load(golden / "expected.npz") as file:
        ids, pixels = torch.from_numpy(file[f"ids_{record}"]), torch.from_numpy(file[f"px_{record}"])
    prior = torch.from_numpy(np.load(golden / "data" / "lm" / f"{record}.npy")).reshape(1, -1)
    with torch.no_grad():
        return model(input_ids=ids[None], images=pixels[None].to(model.dtype), facial_priors=prior).logits.float()


def equal(first: Any, second: Any) -> bool:
    """Whether two models have the same weights to the bit."""
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_lora_from_every_checkpoint_and_through_every_door(train, copied, golden):
    assert train("out", "--lora_enable", "True", *STEPS) == 0
    llava_faba.register()
    base, found = copied / "base", {}
    for folder in (copied / "out", copied / "out" / "checkpoint-1"):
        merged = copied / "merged" / folder.name
        command = ["merge", "--model-path", str(folder), "--model-base", str(base), "--save-model-path", str(merged)]
        assert main([*command, "--dtype", "float16"]) == 0
        assert not list(merged.glob("*.bin")) and list(merged.glob("*.safetensors"))
        adapter = ours(folder, torch.float16, base)
        for other in (upstream(folder, base), ours(merged, torch.float16), upstream(merged)):
            assert equal(adapter, other)
            # The same weights at other addresses: matrix products depend on the alignment in float16.
            assert torch.allclose(logits(other, golden), logits(adapter, golden), atol=4e-3)
        assert main([*command[:-1], f"{merged}-32", "--dtype", "float32"]) == 0
        found[folder.name] = logits(ours(folder, base=base), golden)
        assert torch.allclose(logits(ours(Path(f"{merged}-32")), golden), found[folder.name], atol=1e-5)
    assert not torch.allclose(found["out"], found["checkpoint-1"], atol=1e-4)
    assert main(command) == 2  # what was merged is not written over


def test_full_fine_tuning(train, copied, golden):
    assert train("full", *STEPS) == 0
    llava_faba.register()
    untrained = read_weights(copied / "base" / "pytorch_model.bin")
    for folder in (copied / "full", copied / "full" / "checkpoint-1"):
        assert list(folder.glob("*.safetensors"))
        assert json.loads((folder / "config.json").read_text())["model_type"] == "emollava"
        model = ours(folder, torch.float16)
        assert equal(model, upstream(folder))
        assert torch.allclose(logits(upstream(folder), golden), logits(model, golden), atol=4e-3)
        trained = ours(folder).state_dict()
        language = [name for name in untrained if name.startswith("model.layers.") and name.endswith("proj.weight")]
        assert language and not any(torch.equal(trained[name], untrained[name]) for name in language)


@pytest.mark.slow
def test_llavas_merge_script_through_the_run_command(train, copied):
    assert train("out", "--lora_enable", "True", *STEPS) == 0
    (copied / "merge_lora.py").write_text(MERGE)
    result = run_python("-m", "llava_faba", "run", "merge_lora", "out", "base", "merged", cwd=copied)
    assert result.returncode == 0, result.stderr[-2000:]
    assert equal(ours(copied / "merged", torch.float16), ours(copied / "out", torch.float16, copied / "base"))


def test_what_is_trained_is_what_the_reference_trained(train, copied, golden):
    """Names, shapes and gradient flow: LoRA on LLaMA's seven linears, both projectors, and nothing else."""
    assert train("out", "--lora_enable", "True", *STEPS, "--facial_prior_normalization", "none", "--seed", "7") == 0
    states = []
    for folder in (golden / ADAPTER, copied / "out" / "checkpoint-1", copied / "out"):
        adapter = read_weights(next(folder.glob("adapter_model.*")))
        named = {name.replace(".weight", ".default.weight"): value for name, value in adapter.items()}
        states.append(named | read_weights(folder / "non_lora_trainables.bin"))
    reference, first, second = states
    shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in states]
    assert shapes[0] == shapes[1] == shapes[2] and len(reference) == 36
    manifest = json.loads((copied / "out" / "checkpoint-1" / "complete.json").read_text())
    assert set(manifest["settings"]["trained weights"]) == reference.keys()
    # LoRA's B starts at zero, so the first step moves B and the second A as well.
    assert [name for name, value in second.items() if torch.equal(value, first[name])] == []
