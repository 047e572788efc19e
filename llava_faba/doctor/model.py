"""Whether one checkpoint can be loaded and asked here: its files, its expert, and the memory that it takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llava_faba.doctor.finding import Finding
from llava_faba.errors import CheckpointError, ExpertError

_GIB = 1 << 30
_CGROUPS = Path("/sys/fs/cgroup")
_LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


def model(model_path: str, model_base: str | None) -> Iterator[Finding]:
    from llava_faba.model.checkpoints import Checkpoint, inspect_checkpoint
    from llava_faba.model.handing_over import check_tower_fits, find_tower, hand_over

    parts: list[Checkpoint] = []
    try:
        checkpoint = inspect_checkpoint(model_path, download=False)
        parts.append(checkpoint)
        checkpoint.check_weights()
        if checkpoint.needs_base:
            if checkpoint.is_emola:
                checkpoint.projector_weights()
            parts.append(checkpoint.checked_base(model_base, download=False))
        named = checkpoint.config.get("mm_vision_tower")
        if named:
            tower = find_tower(named, *(part.folder for part in parts), download=False)
            check_tower_fits(checkpoint.config, tower, checkpoint.folder)
            parts.append(tower)
        for part in parts:
            hand_over(part, near=tuple(one.folder for one in parts))  # the small files: tokenizer, pictures, generation
        count = sum(part.parameters() for part in parts)
    except CheckpointError as error:
        yield Finding("error", "model", str(error), "fix the checkpoint, or name its base with --model-base")
        with contextlib.suppress(CheckpointError):
            if parts:
                yield from _memory(sum(part.parameters() for part in parts))
        return
    kind = ("EmoLA" if checkpoint.is_emola else "LLaVA") + (", LoRA weights" if checkpoint.is_adapter else "")
    details = {"folder": str(checkpoint.folder), "parameters": count, "emola": checkpoint.is_emola}
    yield Finding("ok", "model", f"{kind}: {_numbers(count)} parameters", details=details)
    if checkpoint.is_emola:
        yield from _its_expert(checkpoint.config)
    yield from _memory(count)


def _its_expert(config: dict[str, Any]) -> Iterator[Finding]:
    from llava_faba.experts import create_expert
    from llava_faba.model.config import expert_name, prior_size

    named = SimpleNamespace(**config)
    name = expert_name(named)
    try:
        expert = create_expert(name, config.get("facial_prior_expert_settings"), size=prior_size(named))
        missing = expert.missing()
    except ExpertError as error:
        missing = str(error)
    if missing is not None:
        yield Finding("error", "model's expert", f"'{name}' cannot be used here", missing)
    elif name == "precomputed":
        yield Finding("note", "model's expert", "it takes precomputed priors only", "pass facial_priors with each call")
    else:
        yield Finding("ok", "model's expert", f"'{name}' is there, with its weights")


def _memory(count: int) -> Iterator[Finding]:
    """Weights alone against what is free; answers take some more."""
    import torch

    needed = {"float16": 2 * count, "float32": 4 * count}
    free = {"RAM": available_memory()}
    for index in range(torch.cuda.device_count()):
        free[f"GPU {index}"] = torch.cuda.mem_get_info(index)[0]
    details = {"needed": needed, "free": free}
    text = (
        ", ".join(f"{_size(value)} in {dtype}" for dtype, value in needed.items())
        + " for the weights; free: "
        + ", ".join(f"{_size(value)} {place}" for place, value in free.items())
    )
    most = max(free.values())
    if most < needed["float16"]:
        yield Finding("error", "memory", text, "take a smaller model or a larger machine", details)
    elif most < needed["float32"]:
        yield Finding("note", "memory", text, "load it with --dtype float16 or bfloat16", details)
    else:
        yield Finding("ok", "memory", text, details=details)


def available_memory() -> int:
    """Bytes of main memory that this process could take: what is free, within what its container may use."""
    import psutil

    available = int(psutil.virtual_memory().available)
    for limit, usage in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such control group, or its limit is the word "max"
            rest = int((_CGROUPS / limit).read_text()) - int((_CGROUPS / usage).read_text())
            available = min(available, max(rest, 0))
    return available


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB" if count >= _GIB / 10 else f"{count / (1 << 20):.1f} MiB"


def _numbers(count: int) -> str:
    return f"{count / 1e9:.2f} billion" if count >= 1e8 else f"{count:,}"
