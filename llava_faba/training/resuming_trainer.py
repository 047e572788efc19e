"""A trainer that goes on exactly where it was stopped; what each method fixes is said in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llava_faba.compat.resume import deepspeed_without_frozen_weights, own_random_state_trusted
from llava_faba.training.epoch_order import epoch_order
from llava_faba.training.identity import run_settings
from llava_faba.training.peers import accumulate_under_deepspeed, checkpoint_under_ddp
from llava_faba.training.resume import (
    MANIFEST,
    check_same_run,
    load_non_lora,
    mark_complete,
    newest_whole,
    unmark,
)
from llava_faba.training.stopping import end_if_stopped, stop_callbacks


def resuming_trainer(original: Any) -> Any:
    """LLaVATrainer that resumes, plainly and under DeepSpeed, from the last whole checkpoint of its output folder."""

    class ResumingTrainer(original):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            checkpoint_under_ddp(self.args)
            if self.is_deepspeed_enabled:
                accumulate_under_deepspeed(self.accelerator)

        def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
            # LLaVA passes True where a process sees any checkpoint-N, whole or not, and nothing where it sees none.
            self._settings = run_settings(self)
            if resume_from_checkpoint in (None, True):
                resume_from_checkpoint = newest_whole(self.args.output_dir, tidies=self.is_world_process_zero())
            if resume_from_checkpoint:
                self._go_on_from(Path(resume_from_checkpoint))
            for callback in stop_callbacks(self):
                self.add_callback(callback)
            with deepspeed_without_frozen_weights():
                result = super().train(resume_from_checkpoint, *args, **kwargs)
            end_if_stopped(self)
            return result

        def _go_on_from(self, folder: Path) -> None:
            changed = check_same_run(folder, self._settings)
            if self.is_world_process_zero():
                print(f"Going on from {folder}{''.join(f'; {change}' for change in changed)}.", flush=True)

        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return epoch_order(super()._get_train_sampler(*args, **kwargs), self)

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            if self.args.lora_enable:
                load_non_lora(self.model, Path(resume_from_checkpoint))

        def _load_rng_state(self, checkpoint: Any) -> None:
            with own_random_state_trusted():
                super()._load_rng_state(checkpoint)

        def _save_checkpoint(self, model: Any, *args: Any, **kwargs: Any) -> None:
            unmark(self._folder())
            super()._save_checkpoint(model, *args, **kwargs)
            self._mark()

        def _rotate_checkpoints(self, *args: Any, **kwargs: Any) -> None:
            # The new one must be known as whole before the old one goes.
            self._mark()
            super()._rotate_checkpoints(*args, **kwargs)

        def _mark(self) -> None:
            folder = self._folder()
            if self.is_world_process_zero() and folder.is_dir() and not (folder / MANIFEST).exists():
                mark_complete(folder, self._settings)

        def _folder(self) -> Path:
            return Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"

    return ResumingTrainer
