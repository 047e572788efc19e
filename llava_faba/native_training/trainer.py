"""TRL's SFTTrainer with the model's own loss, learning rates by group, and checkpoints that are whole or not there."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from trl import SFTTrainer

from llava_faba.native_training.models import PROJECTOR
from llava_faba.training.resume import (
    check_same_run,
    mark_complete,
    newest_whole,
    unmark,
)
from llava_faba.training.stopping import end_if_stopped, stop_callbacks


class NativeTrainer(SFTTrainer):
    """``settings``: what decides the weights (a checkpoint of other ones is not gone on from). ``image_rate``: learning
    rate of the modules that are trained whole, but for the prior's projector; None: that of all."""

    optimizer: Any

    def __init__(self, *args: Any, settings: dict[str, Any], image_rate: float | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings, self._image_rate = settings, image_rate

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own. TRL's joins head and loss, and would count the placeholder, which is no answer."""
        return transformers.Trainer.compute_loss(self, *args, **kwargs)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        if self.optimizer is None and self._image_rate is not None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = kind(self._groups(), **options)
        return super().create_optimizer(*args, **kwargs)

    def _groups(self) -> list[dict[str, Any]]:
        groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
        decayed = set(self.get_decay_parameter_names(self.model))
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                of_images = "modules_to_save" in name and f"{PROJECTOR}." not in name
                groups.setdefault((of_images, name in decayed), []).append(parameter)
        if not any(of_images for of_images, _ in groups):
            warnings.warn("image_projector_rate is given, and lora.modules names no other projector", stacklevel=2)
        return [
            {
                "params": parameters,
                "weight_decay": self.args.weight_decay if decays else 0.0,
                **({"lr": self._image_rate} if of_images else {}),
            }
            for (of_images, decays), parameters in groups.items()
        ]

    def train(self, *args: Any, **kwargs: Any) -> Any:
        newest = newest_whole(self.args.output_dir, tidies=self.is_world_process_zero())
        if newest is not None:
            changed = check_same_run(Path(newest), self._settings)
            if self.is_world_process_zero():
                print(f"Going on from {newest}{''.join(f'; {change}' for change in changed)}.", flush=True)
        for callback in stop_callbacks(self):
            self.add_callback(callback)
        result = super().train(resume_from_checkpoint=newest)
        end_if_stopped(self)
        return result

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if self.is_world_process_zero():
            unmark(folder)
        transformers.Trainer._save_checkpoint(self, model, trial)  # without TRL's model card: the folder has its own
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            mark_complete(folder, self._settings)
        self.accelerator.wait_for_everyone()
