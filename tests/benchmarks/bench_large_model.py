"""A random EmoLA of real size without a GPU: written shard by shard, loaded, asked one question, converted.

python tests/benchmarks/bench_large_model.py FOLDER [--shape 7b]     # FOLDER: a new one; removed again

bfloat16 throughout. Every part is a process of its own; its peak is what the kernel counted (ru_maxrss, with pages of
mapped files), for loading without what the imports alone take. Refuses to start where less memory is free than the
weights and half as much again. Exit code 1 where loading and answering take more than 1.1 times the weights.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "emola_checkpoint"
MOST = 1.1
ROWS, PRIOR, SEEN = 32000, 212, 32
# hidden, intermediate, layers, heads
SHAPES = {"7b": (4096, 11008, 32, 32), "3b": (3072, 8192, 26, 24), "1b": (2048, 5504, 24, 16)}

LOAD = """
import json, resource, sys, time
import torch, transformers
from llava_faba.model.loading import load_model
from llava_faba.upstream import import_llava
import_llava()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before, start = peak(), time.process_time()
model = load_model(sys.argv[1], device="cpu", dtype=torch.bfloat16).model
loaded, seconds = peak(), time.process_time() - start
weights = sum(p.numel() * p.element_size() for p in model.parameters())
start = time.process_time()
with torch.no_grad():
    ids = torch.arange(3, 19)[None]
    out = model.generate(ids, do_sample=False, max_new_tokens=4, min_new_tokens=4, use_cache=True)
print(json.dumps({"weights": weights, "imports": before, "loaded": loaded, "load_s": seconds, "answered": peak(),
                  "answer_s": time.process_time() - start, "tokens": int(out.shape[-1])}))
"""


def tensors(shape: tuple[int, int, int, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the checkpoint, without its tower."""
    hidden, wide, layers, _ = shape
    yield "model.embed_tokens.weight", (ROWS, hidden)
    for layer in range(layers):
        name = f"model.layers.{layer}"
        for one in "qkvo":
            yield f"{name}.self_attn.{one}_proj.weight", (hidden, hidden)
        for one, sides in (("gate", (wide, hidden)), ("up", (wide, hidden)), ("down", (hidden, wide))):
            yield f"{name}.mlp.{one}_proj.weight", sides
        for one in ("input_layernorm", "post_attention_layernorm"):
            yield f"{name}.{one}.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (ROWS, hidden)
    for name, size in (("mm_projector", SEEN), ("landmark_feature_projector", PRIOR)):
        for number, width in ((0, size), (2, hidden)):
            yield f"model.{name}.{number}.weight", (hidden, width)
            yield f"model.{name}.{number}.bias", (hidden,)


def make(folder: Path, shape: tuple[int, int, int, int]) -> None:
    """Write the checkpoint, about 1 GB a shard."""
    import torch
    from safetensors.torch import save_file

    shutil.copytree(GOLDEN / "clip-tiny", folder / "clip-tiny")
    source = folder / "source"
    shutil.copytree(GOLDEN / "base", source, ignore=shutil.ignore_patterns("*.bin"))
    config = json.loads(next(GOLDEN.glob("llava-*/config.json")).read_text())
    hidden, wide, layers, heads = shape
    config |= {"hidden_size": hidden, "intermediate_size": wide, "num_hidden_layers": layers, "vocab_size": ROWS}
    config |= {"num_attention_heads": heads, "num_key_value_heads": heads, "torch_dtype": "bfloat16"}
    (source / "config.json").write_text(json.dumps(config))
    random = torch.Generator().manual_seed(0)
    shard: dict[str, torch.Tensor] = {}
    where: dict[str, str] = {}
    numbers = count = held = 0
    wanted = list(tensors(shape))
    for name, sides in wanted:
        empty = torch.empty(sides, dtype=torch.bfloat16)
        shard[name] = empty.fill_(1) if name.endswith("norm.weight") else empty.uniform_(-0.03, 0.03, generator=random)
        numbers, held = numbers + empty.numel(), held + empty.numel()
        if held > 5 * 10**8 or name == wanted[-1][0]:
            count += 1
            file = f"model-{count:05d}.safetensors"
            save_file(shard, source / file, metadata={"format": "pt"})
            where.update(dict.fromkeys(shard, file))
            shard, held = {}, 0
    index = {"metadata": {"total_size": numbers * 2}, "weight_map": where}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))


def run(*words: str) -> tuple[int, float, float, str]:
    """(peak in bytes, seconds, seconds of CPU, output) of one command in a process of its own.

    This process stays small: the kernel lets a child begin with its parent's peak.
    """
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{words[:3]} failed")
    return usage.ru_maxrss * 1024, time.perf_counter() - start, usage.ru_utime + usage.ru_stime, said


def available() -> int:
    """Bytes of memory that are free or can be freed."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        make(args.folder, SHAPES[args.shape])
        return 0
    numbers = sum(math.prod(sides) for _, sides in tensors(SHAPES[args.shape]))
    if available() < 3 * numbers:
        print(f"{available() / 1e9:.1f} GB of memory are free; {3 * numbers / 1e9:.1f} GB are wanted")
        return 2
    args.folder.mkdir(parents=True)
    try:
        peak, seconds, cpu, _ = run(__file__, str(args.folder), "--shape", args.shape, "--write")
        print(f"{args.shape}: {numbers / 1e9:.2f} billion numbers, {numbers * 2 / 1e9:.2f} GB on disk; written in "
              f"{cpu:.0f} s CPU, {seconds:.0f} s, peak {peak / 1e9:.2f} GB", flush=True)  # fmt: skip
        found = json.loads(run("-c", LOAD, str(args.folder / "source"))[3].splitlines()[-1])
        over = (found["answered"] - found["imports"]) / found["weights"]  # an answer reads every weight
        held = f"{found['weights'] / 1e9:.2f} GB"
        peaks = {key: found[key] / 1e9 for key in ("loaded", "answered", "imports")}
        print(f"loaded: {found['load_s']:.0f} s CPU, peak {peaks['loaded']:.2f} GB", flush=True)
        print(f"one question, {found['tokens']} tokens: {found['answer_s']:.0f} s CPU, peak {peaks['answered']:.2f} GB")
        print(f"without the imports ({peaks['imports']:.2f} GB) over the weights ({held}): x{over:.3f}", flush=True)
        words = ("checkpoint", "to-transformers", "--model-path", str(args.folder / "source"))
        peak, seconds, cpu, _ = run("-m", "llava_faba", *words, "--out", str(args.folder / "native"))
        print(f"to-transformers: {cpu:.0f} s CPU, {seconds:.0f} s, peak {peak / 1e9:.2f} GB", flush=True)
        return int(over > MOST)
    finally:
        shutil.rmtree(args.folder)


if __name__ == "__main__":
    sys.exit(main())
