"""Steps that make models: training, merging, conversion."""

from __future__ import annotations

import importlib.resources
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llava_faba.recipe.errors import RecipeError
from llava_faba.recipe.kinds.base import FREE_PORT, LLAVA_FABA, Action, Kind, Path_, command, flags

_TRAINERS = ("emola", "upstream")


@dataclass(frozen=True)
class Train(Kind):
    """``deepspeed scripts/train_emola.py``, or with ``trainer: upstream`` LLaVA's own train.py.

    ``expert`` none: plain LLaVA on the same records. ``deepspeed``: a config of the package or a file; default
    zero3.json,
    and on a machine without a GPU zero2_cpu.json. ``after``: checks that come first. ``flags``: any of LLaVA's and
    ours, with underscores; null leaves one out.
    """

    RESUMES = True

    records: Path_
    image_folder: Path_
    model: Path_
    vision_tower: Path_ | None = None
    expert: str = "none"
    priors: Path_ | None = None
    trainer: str = "emola"
    deepspeed: Path_ | None = None
    processes: int | None = None
    after: tuple[Path_, ...] = ()
    flags: dict[str, Any] = field(default_factory=dict)

    def actions(self, out: str) -> list[Action]:
        if self.trainer not in _TRAINERS:
            raise RecipeError(f"trainer is {self.trainer!r}, none of {', '.join(_TRAINERS)}")
        gpu = _has_gpu()
        processes = self.processes or (None if gpu else 1)
        words: list[object] = [Path(sys.executable).with_name("deepspeed")]
        words += [f"--num_gpus={processes}"] if processes else []
        words += [f"--master_port={FREE_PORT}"]
        if self.trainer == "upstream":
            words += ["--module", "llava_faba", "run", "llava.train.train"]
        else:
            words += [_scripts() / "train_emola.py"]
        config = self.deepspeed or ("zero3.json" if gpu else "zero2_cpu.json")
        words += ["--deepspeed", config if "/" in config else _scripts() / config]
        words += flags(
            {
                "model_name_or_path": self.model,
                "data_path": self.records,
                "image_folder": self.image_folder,
                "vision_tower": self.vision_tower,
                "output_dir": out,
            },
            dashes=False,
        )
        if self.trainer == "emola":
            words += flags({"facial_prior_expert": self.expert, "facial_prior_store": self.priors}, dashes=False)
        for name, value in self.flags.items():
            words += [] if value is None else [f"--{name}", value]
        return [command(*words, **_environment(gpu))]


@dataclass(frozen=True)
class Merge(Kind):
    """``llava-faba checkpoint merge``: LoRA weights put into their base."""

    checkpoint: Path_
    base: Path_ | None = None
    dtype: str = "float16"

    def actions(self, out: str) -> list[Action]:
        words = ["checkpoint", "merge", "--model-path", self.checkpoint, "--dtype", self.dtype, "--out", out]
        return [command(*LLAVA_FABA, *words, *flags({"model_base": self.base}))]


@dataclass(frozen=True)
class ToTransformers(Kind):
    """``llava-faba checkpoint to-transformers``: the model for transformers 5 and vLLM."""

    checkpoint: Path_
    base: Path_ | None = None

    def actions(self, out: str) -> list[Action]:
        words = ["checkpoint", "to-transformers", "--model-path", self.checkpoint, "--out", out]
        return [command(*LLAVA_FABA, *words, *flags({"model_base": self.base}))]


def _scripts() -> Path:
    """Where train_emola.py and the DeepSpeed configs lie, in a clone and in an installed wheel."""
    return Path(str(importlib.resources.files("llava_faba.scripts") / "zero2_cpu.json")).parent


def _has_gpu() -> bool:
    """Without importing torch: whether a driver of NVIDIA's or AMD's has a device here, and it is not hidden."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == "" or os.environ.get("DS_ACCELERATOR") == "cpu"
    return not hidden and (Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists())


def _environment(gpu: bool) -> dict[str, str]:
    common = {"TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
    if gpu:
        return common
    return {**common, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
