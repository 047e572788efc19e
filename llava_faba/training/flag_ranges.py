"""Numbers of flags that no training can be run with, and folders that it would write over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_faba.errors import UserError


@dataclass(frozen=True)
class _Range:
    """From ``low`` to ``high``, the ends included unless ``above`` (the lower) and ``below`` (the upper) leave them
    out."""

    low: float
    high: float
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        too_low = value <= self.low if self.above else value < self.low
        too_high = value >= self.high if self.below else value > self.high
        return not (too_low or too_high or value != value)

    def __str__(self) -> str:
        return f"{'above' if self.above else 'from'} {self.low:g} {'and below' if self.below else 'to'} {self.high:g}"


_SEED = _Range(0, 2**32 - 1)
_RATE = _Range(0, 10)
_COUNT = _Range(1, 1e9)
_RANGES = {
    **dict.fromkeys(("learning_rate", "mm_projector_lr", "facial_prior_projector_lr"), _RATE),
    **dict.fromkeys(("per_device_train_batch_size", "gradient_accumulation_steps", "model_max_length"), _COUNT),
    **dict.fromkeys(("seed", "data_seed"), _SEED),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), _Range(0, 1, below=True)),
    "adam_epsilon": _Range(0, 1, above=True),
    "weight_decay": _Range(0, 10),
    "max_grad_norm": _Range(0, 1e9),
    "warmup_ratio": _Range(0, 1),
    "warmup_steps": _Range(0, 1e9),
    "dataloader_num_workers": _Range(0, 1024),
}
_OF_LORA = {
    "lora_r": _Range(1, 16384),
    "lora_alpha": _Range(0, 1e6, above=True),
    "lora_dropout": _Range(0, 1, below=True),
}


def check_numbers(values: Mapping[str, Any]) -> None:
    """Raises UserError for a number that would end in a traceback, or in a training that learns nothing or NaN."""
    ranges = dict(_RANGES)
    if values.get("lora_enable"):
        ranges |= _OF_LORA
    if (values.get("max_steps") or -1) <= 0:
        ranges["num_train_epochs"] = _Range(0, 1e6, above=True)
    if str(getattr(values.get("save_strategy"), "value", values.get("save_strategy"))) == "steps":
        ranges["save_steps"] = _Range(0, 1e12, above=True)
    for name, allowed in ranges.items():
        value = values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value not in allowed:
            raise UserError(f"--{name} {value}: a number {allowed} is wanted.")


def check_output(values: Mapping[str, Any]) -> None:
    """Raises UserError for an ``--output_dir`` that is one of the run's own inputs: its files would be written over."""
    out = Path(values["output_dir"])
    for flag in ("model_name_or_path", "vision_tower", "image_folder", "pretrain_mm_mlp_adapter"):
        named = values.get(flag)
        if named is None or not Path(named).exists():
            continue
        given = Path(named) if Path(named).is_dir() else Path(named).parent
        if flag == "pretrain_mm_mlp_adapter" and Path(named).parent.name.startswith("checkpoint-"):
            continue
        if out.exists() and out.resolve() == given.resolve():
            raise UserError(
                f"--output_dir {out} is where --{flag} lies, which the run would write over. Choose another folder."
            )
