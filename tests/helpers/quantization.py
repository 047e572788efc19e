"""Models in 4 and 8 bits: whether this stack can make them on a CPU, and how to see that one is."""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from typing import Any

import pytest
import torch


def can_quantize() -> bool:
    """bitsandbytes computes on a CPU; transformers 4.x does not let it."""
    return importlib.util.find_spec("bitsandbytes") is not None and int(version("transformers").split(".")[0]) >= 5


needs_quantization = pytest.mark.skipif(
    not can_quantize(),
    reason="no bitsandbytes, or a transformers that wants a GPU for it ('make test-newest' has both)",
)


def kinds(model: Any) -> dict[str, str]:
    """Which linear classes and types each part of a model has."""
    found: dict[str, set[str]] = {"layers": set(), "lora": set(), "projectors": set()}
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or "vision_tower" in name:
            continue
        part = "lora" if "lora_" in name else "projectors" if "projector" in name else "layers"
        if part != "layers" or ".layers." in name:
            found[part].add(f"{type(module).__name__} {str(module.weight.dtype).removeprefix('torch.')}")
    return {part: ", ".join(sorted(values)) for part, values in found.items()}
