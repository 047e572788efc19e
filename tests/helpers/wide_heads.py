"""A checkpoint with attention heads of 16 numbers as one with heads of 32, the least that vLLM computes on a CPU.

The wider model is the same function, exactly: what is added is zero. Rotary embeddings turn pair i of a head of 16 by
the frequency theta^(-2i/16), which is that of pair 2i in a head of 32; the scale of the scores, 1/sqrt(32) instead of
1/sqrt(16), is taken back in the queries.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def widen_heads(folder: Path) -> None:
    """Double the head size of the language model in a native folder, in place."""
    config = json.loads((folder / "config.json").read_text())
    text = config["text_config"]
    old = text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]
    text["head_dim"] = 2 * old
    (folder / "config.json").write_text(json.dumps(config))
    for file in folder.glob("*.safetensors"):
        tensors = {name: _widened(name, value, old) for name, value in load_file(file).items()}
        save_file(tensors, file, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    assert not index.exists(), "one file is enough for a small model"


def _widened(name: str, value: torch.Tensor, old: int) -> torch.Tensor:
    projection = name.rsplit(".", 2)[-2]
    if "language_model.layers" not in name or projection not in ("q_proj", "k_proj", "v_proj", "o_proj"):
        return value
    places = torch.arange(old)
    if projection in ("q_proj", "k_proj"):  # number j of a head is half of a pair: j and j + old/2 belong together
        half = old // 2
        places = torch.where(places < half, 2 * places, old + 2 * (places - half))
    rows = value.T if projection == "o_proj" else value
    heads = rows.unflatten(0, (-1, old))
    wide = heads.new_zeros(heads.shape[0], 2 * old, heads.shape[2])
    wide[:, places] = heads * (math.sqrt(2) if projection == "q_proj" else 1)
    wide = wide.flatten(0, 1)
    return (wide.T if projection == "o_proj" else wide).contiguous()
