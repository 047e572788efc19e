"""Writing and reading tensors a shard at a time, as transformers lays them out."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from llava_faba.vetting.side_files import inside_folder
from llava_faba.vetting.weights import read_weights, shapes

SHARD_BYTES = 400 * 2**20  # safetensors copies a shard once more while it writes
_INDEX = "model.safetensors.index.json"

Reader = Callable[[], torch.Tensor]


def write_shards(tensors: Iterable[tuple[str, Reader]], folder: Path, most: int = SHARD_BYTES) -> int:
    """Write tensors in their order, none larger than it must be in memory at a time; returns how many were written."""
    from safetensors.torch import save_file

    drafts: list[tuple[Path, list[str]]] = []
    waiting: dict[str, torch.Tensor] = {}
    held = total = 0

    def flush() -> None:
        nonlocal held
        if waiting:
            path = folder / f"draft-{len(drafts)}.safetensors"
            save_file(waiting, path, metadata={"format": "pt"})
            drafts.append((path, list(waiting)))
            waiting.clear()
            held = 0

    for name, reader in tensors:
        value = reader().detach().clone(memory_format=torch.contiguous_format)
        size = value.numel() * value.element_size()
        if held and held + size > most:
            flush()
        waiting[name] = value
        held, total = held + size, total + size
        del value
    flush()
    if len(drafts) == 1:
        drafts[0][0].rename(folder / "model.safetensors")
        return len(drafts[0][1])
    where = {}
    for number, (path, names) in enumerate(drafts, 1):
        final = f"model-{number:05d}-of-{len(drafts):05d}.safetensors"
        path.rename(folder / final)
        where.update(dict.fromkeys(names, final))
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / _INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return len(where)


def readers(folder: Path) -> dict[str, Reader]:
    """Every tensor of a native folder by its name, read when it is asked for."""
    files = [inside_folder(folder, path.name, str(folder)) for path in sorted(folder.glob("model*.safetensors"))]
    return {name: functools.partial(_read, path, name) for path in files for name in shapes(path)}


def _read(path: Path, name: str) -> torch.Tensor:
    return read_weights(path, only=name)[name]
