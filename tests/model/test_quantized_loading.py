"""``--load-4bit`` and ``--load-8bit`` of LLaVA's programs, on EmoLA checkpoints."""

from __future__ import annotations

import pytest
import torch
from quantization import kinds, needs_quantization
from support import ADAPTER, IMAGE_TOKEN

pytestmark = [pytest.mark.newest, needs_quantization]


@pytest.mark.parametrize(("flag", "layers"), [("load_4bit", "Linear4bit uint8"), ("load_8bit", "Linear8bitLt int8")])
def test_llavas_builder_loads_an_adapter_in_few_bits(golden, registered, flag, layers):
    from llava.model import builder

    def logits(**flags: bool) -> torch.Tensor:
        model = builder.load_pretrained_model(
            str(golden / ADAPTER), str(golden / "base"), ADAPTER, device="cpu", **flags
        )[1]
        found.append(kinds(model))
        prior = torch.linspace(-1, 1, 212)[None]
        with torch.no_grad():
            images = torch.ones(1, 3, 56, 56).half()
            ids = torch.tensor([[1, IMAGE_TOKEN, 5, 6, 7]])
            return model(input_ids=ids, images=images, facial_priors=prior).logits.float()

    found: list[dict[str, str]] = []
    exact, quantized = logits(), logits(**{flag: True})
    assert found[1] == {"layers": layers, "lora": "", "projectors": "Linear float16"}
    difference = float((quantized - exact).norm() / exact.norm())
    assert 0 < difference < 0.3
