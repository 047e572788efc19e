"""QLoRA (``--bits 4`` and ``8``): what LLaVA does for its image projector holds for the prior projector too."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest
import torch
from support import ADAPTER

import llava_faba
from llava_faba.training.trainer import _place_quantized


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
    _place_quantized(model, SimpleNamespace(device="cpu", **flags))
    assert {parameter.dtype for parameter in model.get_model().landmark_feature_projector.parameters()} == {dtype}


def test_without_bitsandbytes_it_is_said_what_to_install(train, capsys, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "bitsandbytes" else find_spec(name, *more)
    )
    assert train("out", "--bits", "4", "--lora_enable", "True") == 2
    assert "--bits 4 needs bitsandbytes" in capsys.readouterr().err
