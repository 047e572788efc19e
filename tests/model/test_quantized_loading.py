"""``--load-4bit`` and ``--load-8bit`` of LLaVA's programs, on EmoLA checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from quantization import kinds, needs_quantization
from support import ADAPTER, IMAGE_TOKEN, llava_faba_command

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


@pytest.mark.slow
def test_llavas_command_line_in_four_bits(face_model: Path, astronaut: Any, tmp_path: Path) -> None:
    astronaut.save(tmp_path / "face.png")
    flags = (
        "--image-file",
        str(tmp_path / "face.png"),
        "--device",
        "cpu",
        "--temperature",
        "0",
        "--max-new-tokens",
        "8",
    )
    command = ("run", "--device", "cpu", "llava.serve.cli", "--model-path", str(face_model), *flags)
    answers = []
    for bits in ((), ("--load-4bit",)):
        result = llava_faba_command(*command, *bits, stdin="What AUs are conveyed by this face?\n\n")
        assert result.returncode == 0, result.stderr[-3000:]
        answers.append(result.stdout.split("ASSISTANT: ")[1].rsplit("USER:", 1)[0].strip())
    assert all(answers) and answers[0] != answers[1]  # an untrained model's next token hangs on little
