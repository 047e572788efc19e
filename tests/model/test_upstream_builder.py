"""EmoLA through LLaVA's own ``load_pretrained_model``, and merged by ``llava-faba merge``."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llava.model import builder
from support import ADAPTER, edit_json

import llava_faba
from llava_faba.cli.main import main
from llava_faba.compat.half import cpu_has_half
from llava_faba.errors import CheckpointError, UserError
from llava_faba.model.emola import EmolaLlamaForCausalLM

HALF = torch.float16 if cpu_has_half() else torch.float32  # what LLaVA's builder gives on this CPU, EmoLA registered


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "expected.npz") as file:
        return dict(file)


def logits(model: Any, expected: dict[str, np.ndarray], golden: Path, record: int = 0) -> torch.Tensor:
    prior = torch.from_numpy(np.load(golden / "data" / "lm" / f"{record}.npy")).reshape(1, -1)
    images = torch.from_numpy(expected[f"px_{record}"])[None].to(model.dtype)
    with torch.no_grad():
        return model(
            input_ids=torch.from_numpy(expected[f"ids_{record}"])[None], images=images, facial_priors=prior
        ).logits[0]


def upstream(path: Path, base: str | None = None, name: str | None = None) -> Any:
    """The model as LLaVA's CLI would load it, its tower in the model's own type (on a CPU upstream leaves float32)."""
    model = builder.load_pretrained_model(str(path), base, name or path.name, device="cpu")[1]
    model.get_vision_tower().to(model.dtype)
    return model


@pytest.mark.parametrize(
    ("name", "base_given"),
    [("faces", False), ("llava-v1-7b", False), ("llava-v1-lora", True), ("mpt-mistral with space", True)],
)
def test_a_folder_of_any_name_gives_the_logits_of_load_model(copied, golden, expected, registered, name, base_given):
    (copied / ADAPTER).rename(copied / name)
    model = upstream(copied / name, str(copied / "base") if base_given else None)
    assert isinstance(model, EmolaLlamaForCausalLM) and model.dtype == HALF
    ours = llava_faba.load_model(copied / name, dtype=HALF)[1]
    found = logits(model, expected, golden)
    assert torch.allclose(found, logits(ours, expected, golden), atol=4e-3)
    assert np.abs(found.float().numpy() - expected["logits_0"]).max() < 2e-2


def test_the_weights_are_those_of_load_model_to_the_bit(copied, registered):
    # LoRA is merged in float16 by upstream and by load_model alike.
    model = upstream(copied / ADAPTER)
    ours = llava_faba.load_model(copied / ADAPTER, dtype=torch.float16)[1]
    theirs = model.state_dict()
    assert theirs.keys() == ours.state_dict().keys()
    differing = [name for name, value in ours.state_dict().items() if not torch.equal(value, theirs[name])]
    assert not differing


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_merged_checkpoint_loads_again_with_equal_logits(copied, golden, expected, registered, dtype, capsys):
    merged = copied / "somewhere" / "merged faces"
    command = ["merge", "--model-path", str(copied / ADAPTER), "--save-model-path", str(merged), "--dtype", dtype]
    assert main(command) == 0 and str(merged) in capsys.readouterr().out
    kind = getattr(torch, dtype) if cpu_has_half() else torch.float32
    before = llava_faba.load_model(copied / ADAPTER, dtype=kind)[1]
    after = llava_faba.load_model(merged, dtype=kind)[1]
    wanted = logits(before, expected, golden)
    weights = after.state_dict()
    if cpu_has_half():  # else the merged file is float16 and what is compared float32
        assert all(torch.equal(value, weights[name]) for name, value in before.state_dict().items())
    # Equal weights give equal logits but for where in memory they lie: matrix products depend on the alignment.
    assert torch.allclose(logits(after, expected, golden), wanted, atol=1e-6 if dtype == "float32" else 4e-3)
    if dtype == "float16":
        assert torch.allclose(logits(upstream(merged), expected, golden), wanted, atol=4e-3)
    else:
        assert np.abs(wanted.numpy() - expected["logits_0"]).max() < 1e-4


def test_the_projector_file_wins_over_the_non_lora_weights_in_both_loaders(copied, registered):
    """As in the authors' inference, which loads that file last."""
    path = copied / ADAPTER / "landmark_feature_projector.bin"
    state = torch.load(path, weights_only=True)
    torch.save({name: torch.full_like(value, 0.25) for name, value in state.items()}, path)
    for model in (upstream(copied / ADAPTER), llava_faba.load_model(copied / ADAPTER)[1]):
        assert all((p == 0.25).all() for p in model.get_model().landmark_feature_projector.parameters())


def test_the_base_lies_where_the_caller_says(copied, registered):
    moved = shutil.move(copied / "base", copied / "elsewhere")
    for load in (upstream, llava_faba.load_model):
        with pytest.raises(CheckpointError, match=r"base model '\./base' .*does not exist.*model_base"):
            load(copied / ADAPTER)
        assert load(copied / ADAPTER, str(moved)) is not None
    edit_json(copied / ADAPTER / "adapter_config.json", base_model_name_or_path=None)
    with pytest.raises(CheckpointError, match="without naming their base model"):
        upstream(copied / ADAPTER)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
@pytest.mark.parametrize("bits", [{"load_4bit": True}, {"load_8bit": True}], ids=["4", "8"])
def test_fewer_bits_without_bitsandbytes_are_a_clear_error(golden, registered, bits):
    """LLaVA's CLI passes --load-4bit and --load-8bit on to here."""
    with pytest.raises(UserError, match="bitsandbytes, which is not installed"):
        builder.load_pretrained_model(str(golden / ADAPTER), None, ADAPTER, device="cpu", **bits)
