"""What a step needs before it has run: time, disk, memory, each from a formula and figures that docs/recipes.md states.

Nothing is told where the formula's inputs are not known: a model that is only a hub id, pictures that are not made yet.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faba_bench.files.jsonfiles import read_json

from llava_faba.recipe.expansion import Step
from llava_faba.recipe.kinds.base import paths

_PICTURE = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
# Seconds a picture on one core, as measured (docs/priors.md, docs/data.md).
_PER_PICTURE = {"priors": 0.025, "align": 0.03, "validate": 0.0052, "blank": 0.004}
_KNOWN = {"llava-v1.5-7b": 7_062_902_784, "llava-v1.5-13b": 13_350_839_296}
"""Parameters of released models that are named by hub id, vision tower included."""
_GPU_FLOPS = 312e12 * 0.4  # an A100's bf16 peak, and the part of it that training usually reaches
_TOKENS = 576 + 1 + 200  # patches, prior, text of one record


@dataclass(frozen=True)
class Need:
    """Seconds, bytes of disk and of memory (of one process); None: not told. ``told_by``: what they rest on."""

    seconds: float | None
    disk: float | None
    memory: float | None
    told_by: str


def need_of(step: Step) -> Need:
    """The estimate for a step that has not run."""
    if step.kind_name == "train":
        return _training(step.kind)
    if step.kind_name == "generate":
        return _generation(step.kind)
    if step.kind_name in ("merge", "to-transformers"):
        size = _parameters(getattr(step.kind, "base", None) or getattr(step.kind, "checkpoint", None))
        return Need(None, size and 2 * size, size and 2 * size, "parameters x 2 bytes" if size else "")
    if step.kind_name in _PER_PICTURE:
        count = next((n for _, path in paths(step.kind) if (n := _pictures(path))), None)
        if count is None:
            return Need(None, None, None, "")
        each = _PER_PICTURE[step.kind_name]
        return Need(
            count * each / (os.cpu_count() or 1), None, None, f"{count} pictures x {each * 1000:.0f} ms and core"
        )
    return Need(None, None, None, "")


def _training(kind: Any) -> Need:
    size = _parameters(kind.model)
    if size is None:
        return Need(None, None, None, "")
    lora = str(kind.flags.get("lora_enable", "false")).lower() == "true"
    processes = kind.processes or 1
    # LoRA: weights in 2 bytes, gradients and optimizer only for a hundredth of them. Whole: 16 bytes a parameter,
    # shared.
    memory = 2 * size if lora else 16 * size / processes
    trained = 0.02 * size if lora else size
    disk = trained * (4 + 12)  # float32 weights and the optimizer's state of one checkpoint
    records = _records(kind.records)
    seconds = None
    told = "2 bytes a parameter" if lora else "16 bytes a parameter, shared"
    if records is not None and size > 1e9:
        epochs = float(kind.flags.get("num_train_epochs", 3))
        per_token = (4 if lora else 6) * size
        seconds = records * epochs * _TOKENS * per_token / (_GPU_FLOPS * processes)
        told += f"; {records} records at 40% of an A100"
    return Need(seconds, disk, memory, told)


def _generation(kind: Any) -> Need:
    size = _parameters(kind.base or kind.checkpoint)
    return Need(None, None, size and 2 * size, "2 bytes a parameter" if size else "")


def _parameters(model: str | None) -> float | None:
    """Parameters of a model: by its files' size and type, or of a released one by its name."""
    if model is None:
        return None
    folder = Path(model)
    if not folder.is_dir():
        return _KNOWN.get(model.rpartition("/")[2].lower())
    config = folder / "config.json"
    weights = [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]
    if not config.is_file() or not weights:
        return None
    kind = read_json(config).get("torch_dtype", read_json(config).get("dtype", "float32"))
    return sum(path.stat().st_size for path in weights) / (2 if kind in ("float16", "bfloat16") else 4)


def _pictures(path: str) -> int | None:
    if not Path(path).is_dir():
        return None
    count = sum(name.lower().endswith(_PICTURE) for _, _, names in os.walk(path) for name in names)
    return count or None


def _records(path: str) -> int | None:
    from faba_bench.files.jsonfiles import read_items

    return len(read_items(path)) if Path(path).is_file() else None
