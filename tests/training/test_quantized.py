"""QLoRA (``--bits 4`` and ``8``): what LLaVA does for its image projector holds for the prior projector too."""

from __future__ import annotations

import importlib.util
import shutil
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from quantization import kinds, needs_quantization
from support import ADAPTER
from training_runs import losses

import llava_faba
from llava_faba.model.checkpoints import read_weights


def test_the_prior_projector_is_not_quantized(golden, registered, monkeypatch):
    from llava.train import train

    from llava_faba.model.dispatch import training_base
    from llava_faba.model.emola import EmolaLlamaForCausalLM

    seen = {}
    monkeypatch.setattr(EmolaLlamaForCausalLM, "from_pretrained", lambda *args, **kwargs: seen.update(kwargs))
    monkeypatch.chdir(golden)
    config = SimpleNamespace(llm_int8_skip_modules=["mm_projector"])  # BitsAndBytesConfig wants the package
    with training_base(as_emola=True):
        train.LlavaLlamaForCausalLM.from_pretrained("base", quantization_config=config)
    assert seen["quantization_config"].llm_int8_skip_modules == ["mm_projector", "landmark_feature_projector"]


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ({"bits": 4, "bf16": True, "fp16": False}, torch.bfloat16),
        ({"bits": 8, "bf16": False, "fp16": True}, torch.float16),
        ({"bits": 4, "bf16": False, "fp16": False}, torch.float32),
        ({"bits": 16, "bf16": True, "fp16": False}, torch.float32),
    ],
)
def test_the_prior_projector_computes_in_the_compute_type(golden, flags, dtype):
    model = llava_faba.load_model(golden / ADAPTER)[1]
    from llava_faba.training.trainer import _place_quantized  # LLaVA's trainer imports once it was made to

    _place_quantized(model, SimpleNamespace(device="cpu", **flags))
    assert {parameter.dtype for parameter in model.get_model().landmark_feature_projector.parameters()} == {dtype}


def test_without_bitsandbytes_it_is_said_what_to_install(train, capsys, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "bitsandbytes" else find_spec(name, *more)
    )
    assert train("out", "--bits", "4", "--lora_enable", "True") == 2
    assert "--bits 4 needs bitsandbytes" in capsys.readouterr().err


@pytest.mark.newest
@needs_quantization
@pytest.mark.parametrize(
    ("bits", "precision", "layers"), [("4", "bf16", "Linear4bit uint8"), ("8", "float32", "Linear8bitLt int8")]
)
def test_qlora_trains_on_a_quantized_base_resumes_and_loads(train, copied, monkeypatch, bits, precision, layers):
    from llava_faba.training.trainer import _place_quantized  # see above

    seen = []

    def placed(model: Any, args: Any) -> None:
        _place_quantized(model, args)
        seen.append(kinds(model))

    monkeypatch.setattr("llava_faba.training.trainer._place_quantized", placed)
    steps = ("--max_steps", "4", "--save_strategy", "steps", "--save_steps", "2", "--lr_scheduler_type", "constant")
    flags = ("--lora_enable", "True", *steps, "--bf16", str(precision == "bf16"))
    assert train("whole", *flags) == 0
    assert train("out", *flags, "--bits", bits) == 0
    compute = "Linear bfloat16" if precision == "bf16" else "Linear float32"
    assert seen[1] == {"layers": layers, "lora": compute, "projectors": compute}
    quantized, unquantized = losses(copied / "out"), losses(copied / "whole")
    assert quantized[-1] < quantized[0] and quantized == pytest.approx(unquantized, abs=0.2)
    assert quantized != unquantized
    moved = [read_weights(copied / "out" / where / "non_lora_trainables.bin") for where in ("checkpoint-2", ".")]
    assert len(moved[0]) == 8 and not any(torch.equal(value, moved[1][name]) for name, value in moved[0].items())

    shutil.copytree(copied / "out" / "checkpoint-2", copied / "again" / "checkpoint-2")
    assert train("again", *flags, "--bits", bits) == 0
    assert losses(copied / "again") == pytest.approx(quantized, abs=1e-6)

    # Without the flag the adapter goes onto the unquantized base, whatever it was trained on.
    model = llava_faba.load_model(copied / "out", copied / "base")[1]
    assert kinds(model) == {"layers": "Linear float32", "lora": "", "projectors": "Linear float32"}
