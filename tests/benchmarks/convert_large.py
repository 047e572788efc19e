"""Memory and time of a conversion there and back, on a random checkpoint of 1.3 billion numbers (5.4 GB in float32).

python tests/benchmarks/convert_large.py FOLDER [--layers 24]     # FOLDER: a new one with 17 GB; removed again

Every command is a process of its own; its peak is what the kernel counted (ru_maxrss, with pages of mapped files).
Exit code 1 from 3 GB on, or when a tensor did not come back to the bit. LLaVA is not needed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "emola_checkpoint"
MOST = 3 * 10**9
HIDDEN, WIDE, HEADS, ROWS = 2048, 5504, 16, 32000
PRIOR = 212


def tensors(layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the checkpoint, without its tower."""
    yield "model.embed_tokens.weight", (ROWS, HIDDEN)
    for layer in range(layers):
        name = f"model.layers.{layer}"
        for one in "qkvo":
            yield f"{name}.self_attn.{one}_proj.weight", (HIDDEN, HIDDEN)
        for one, shape in (("gate", (WIDE, HIDDEN)), ("up", (WIDE, HIDDEN)), ("down", (HIDDEN, WIDE))):
            yield f"{name}.mlp.{one}_proj.weight", shape
        for one in ("input_layernorm", "post_attention_layernorm"):
            yield f"{name}.{one}.weight", (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (ROWS, HIDDEN)
    for name, size in (("mm_projector", 32), ("landmark_feature_projector", PRIOR)):
        for number, width in ((0, size), (2, HIDDEN)):
            yield f"model.{name}.{number}.weight", (HIDDEN, width)
            yield f"model.{name}.{number}.bias", (HIDDEN,)


def make(folder: Path, layers: int) -> int:
    """Write the checkpoint, about 2 GB a shard; returns how many numbers it has."""
    shutil.copytree(GOLDEN / "clip-tiny", folder / "clip-tiny")
    source = folder / "source"
    shutil.copytree(GOLDEN / "base", source, ignore=shutil.ignore_patterns("*.bin"))
    config = json.loads(next(GOLDEN.glob("llava-*/config.json")).read_text())
    config |= {"hidden_size": HIDDEN, "intermediate_size": WIDE, "num_hidden_layers": layers, "vocab_size": ROWS}
    config |= {"num_attention_heads": HEADS, "num_key_value_heads": HEADS}
    (source / "config.json").write_text(json.dumps(config))
    random = torch.Generator().manual_seed(0)
    shard: dict[str, torch.Tensor] = {}
    where: dict[str, str] = {}
    numbers = count = held = 0
    for name, shape in tensors(layers):
        norm = name.endswith("norm.weight")
        value = torch.ones(shape) if norm else torch.empty(shape).normal_(0, 0.02, generator=random)
        shard[name] = value
        numbers, held = numbers + value.numel(), held + value.numel()
        if held > 5 * 10**8 or name.endswith("landmark_feature_projector.2.bias"):
            count += 1
            file = f"model-{count:05d}.safetensors"
            save_file(shard, source / file, metadata={"format": "pt"})
            where.update(dict.fromkeys(shard, file))
            shard, held = {}, 0
    index = {"metadata": {"total_size": numbers * 4}, "weight_map": where}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    return numbers


def run(*arguments: str) -> tuple[int, float]:
    """(peak in bytes, seconds) of one command in a process of its own."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "llava_faba", "checkpoint", *arguments])
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{arguments[0]} failed")
    return usage.ru_maxrss * 1024, time.perf_counter() - start


def differing(one: Path, other: Path) -> list[str]:
    """Tensors of two folders of LLaVA's home that are not the same to the bit."""
    found = []
    maps = [json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"] for folder in (one, other)]
    for name in sorted(set(maps[0]) | set(maps[1])):
        if not all(name in held for held in maps):
            found.append(name)
            continue
        values = []
        for folder, held in zip((one, other), maps, strict=True):
            with safe_open(folder / held[name], framework="pt") as file:
                values.append(file.get_tensor(name))
        if not torch.equal(*values):
            found.append(name)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=24)
    args = parser.parse_args()
    args.folder.mkdir(parents=True)
    try:
        numbers = make(args.folder, args.layers)
        print(f"{numbers / 1e9:.2f} billion numbers, {numbers * 4 / 1e9:.1f} GB; made in "
              f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.1f} GB", flush=True)  # fmt: skip
        native, back = args.folder / "hf", args.folder / "back"
        there = run("to-transformers", "--model-path", str(args.folder / "source"), "--out", str(native))
        print(f"to-transformers: {there[0] / 1e9:.2f} GB, {there[1]:.0f} s", flush=True)
        again = run("from-transformers", "--model-path", str(native), "--out", str(back))
        print(f"from-transformers: {again[0] / 1e9:.2f} GB, {again[1]:.0f} s", flush=True)
        wrong = differing(args.folder / "source", back)
        print(f"tensors that did not come back to the bit: {len(wrong)} {wrong[:3]}")
        return int(bool(wrong) or max(there[0], again[0]) >= MOST)
    finally:
        shutil.rmtree(args.folder)


if __name__ == "__main__":
    sys.exit(main())
