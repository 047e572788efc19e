"""Sizes and settings of the demo: what fits into about 15 minutes on two CPU cores."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llava_faba.demo.base import BaseSize

EXPERT = "dlib-68"


@dataclass(frozen=True)
class Variant:
    """One model of the comparison: EmoLA with a normalization, or plain LLaVA (``expert`` "none")."""

    name: str
    expert: str = EXPERT
    normalization: str = "none"


EMOLA = Variant("emola", normalization="pose")
NO_PRIOR = Variant("no_prior", expert="none")
# The ablation's rows beside these two.
STANDARDIZED = Variant("emola_standardized", normalization="standardize")
RAW = Variant("emola_raw", normalization="none")


@dataclass(frozen=True)
class DemoSettings:
    """Everything that the demo's result depends on.

    ``root``: where all of it lies. ``shared``: another root whose data, priors and base are used (the ablation).
    """

    root: Path = Path("runs/demo")
    shared: Path | None = None
    seed: int = 0
    n_train: int = 3000
    n_test: int = 400
    base_captions: int = 1000
    base_text_repeats: int = 2
    base_epochs: float = 4
    epochs: float = 4
    batch: int = 8
    learning_rate: float = 2e-3
    base_learning_rate: float = 2e-3
    lora_r: int = 32
    lora_alpha: int = 64
    processes: int = 2
    max_new_tokens: int = 100
    size: BaseSize = field(default_factory=BaseSize)

    @property
    def _common(self) -> Path:
        return self.shared or self.root

    @property
    def data(self) -> Path:
        return self._common / "data"

    @property
    def priors(self) -> Path:
        return self._common / "priors"

    @property
    def untrained(self) -> Path:
        return self._common / "untrained"

    @property
    def vision_tower(self) -> Path:
        return self._common / "vision-tower"

    @property
    def base(self) -> Path:
        return self._common / "base"

    def adapter(self, variant: Variant) -> Path:
        """The folder of a variant's LoRA checkpoint; names that LLaVA's builder understands."""
        if variant is EMOLA:
            return self.root / "llava-v1-emola-lora"
        return self.root / f"llava-v1-{variant.name.replace('_', '-')}-lora"

    def answers(self, variant: Variant) -> Path:
        """A variant's answers to the test questions of both tasks."""
        return self.root / "answers" / f"{variant.name}.jsonl"


# A few pictures and steps: every step runs, nothing is learned.
TINY: dict[str, Any] = {
    "n_train": 48,
    "n_test": 16,
    "base_epochs": 1,
    "epochs": 1,
    "batch": 4,
    "max_new_tokens": 24,
    "size": BaseSize(hidden=64, layers=2, intermediate=128, vocabulary=400, vision_hidden=64),
}
