"""A trainer that goes on exactly where it was stopped; what each method mends is said in it."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from llava_faba.training.resume import (
    MANIFEST,
    check_same_run,
    checkpoints,
    last_checkpoint,
    load_non_lora,
    mark_complete,
    unmark,
)


def resuming_trainer(original: Any) -> Any:
    """LLaVATrainer that resumes LoRA training, plainly and under DeepSpeed."""

    class ResumingTrainer(original):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._epoch_random = _EpochRandomState()
            self.add_callback(self._epoch_random)

        def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
            # transformers takes the highest checkpoint-N, whole or not.
            if resume_from_checkpoint is True:
                resume_from_checkpoint = _newest(self.args.output_dir)
            if resume_from_checkpoint:
                check_same_run(Path(resume_from_checkpoint), self._trainable(), self.args.world_size)
                self._epoch_random.read(Path(resume_from_checkpoint), self.args)
            with _lenient_deepspeed():
                return super().train(resume_from_checkpoint, *args, **kwargs)

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            if self.args.lora_enable:
                load_non_lora(self.model, Path(resume_from_checkpoint))

        def _load_rng_state(self, checkpoint: Any) -> None:
            with _own_random_state_trusted():
                super()._load_rng_state(checkpoint)
            self._epoch_random.on_random_state_loaded()

        def _save_rng_state(self, output_dir: str) -> None:
            super()._save_rng_state(output_dir)
            self._epoch_random.write(Path(output_dir), self.args)

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
                mark_complete(folder, self._trainable(), self.args.world_size)

        def _folder(self) -> Path:
            return Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"

        def _trainable(self) -> list[str]:
            return [name for name, parameter in self.model.named_parameters() if parameter.requires_grad]

    return ResumingTrainer


class _EpochRandomState(TrainerCallback):
    """torch's random state at the beginning of an epoch, from which samplers draw the epoch's order.

    transformers restores the state of the step that was saved, after the order was drawn from another one: a resumed
    epoch would see some records twice and others never.
    """

    def __init__(self) -> None:
        self._state: torch.Tensor | None = None
        self._restored: torch.Tensor | None = None
        self._at_start = False

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        updates = max(1, len(kwargs["train_dataloader"]) // args.gradient_accumulation_steps)
        self._at_start = state.global_step % updates == 0
        if self._restored is not None and not self._at_start:
            torch.random.set_rng_state(self._restored)
        self._restored = None
        self._state = torch.random.get_rng_state()

    def on_random_state_loaded(self) -> None:
        """A run that resumes between two epochs gets its random state after ``on_epoch_begin``."""
        if self._at_start:
            self._state = torch.random.get_rng_state()

    def write(self, folder: Path, args: Any) -> None:
        torch.save(self._state, self._path(folder, args))

    def read(self, folder: Path, args: Any) -> None:
        path = self._path(folder, args)
        if path.is_file():
            self._restored = torch.load(path, weights_only=True)

    @staticmethod
    def _path(folder: Path, args: Any) -> Path:
        return folder / f"epoch_random_{args.process_index}.pt"


def _newest(output_dir: str) -> str | None:
    newest, (_, broken) = last_checkpoint(output_dir), checkpoints(output_dir)
    for folder in broken:
        warnings.warn(f"{folder} is not complete (the run was stopped while it was written): passed over", stacklevel=2)
    return str(newest) if newest else None


@contextlib.contextmanager
def _own_random_state_trusted() -> Iterator[None]:
    """transformers 4.37 saves numpy's random state and reads it back with torch.load, which no longer allows that."""
    import numpy as np

    if not hasattr(torch.serialization, "safe_globals"):  # before torch 2.5 torch.load reads everything
        yield
        return
    reconstruct = np.zeros(1).__reduce__()[0]
    allowed: list[Any] = [reconstruct, np.ndarray, np.dtype, type(np.dtype(np.uint32))]
    with torch.serialization.safe_globals(allowed):
        yield


@contextlib.contextmanager
def _lenient_deepspeed() -> Iterator[None]:
    """Checkpoints are saved without frozen weights; transformers 4.37 loads them as if those were there.

    What was trained is known to be there: ``check_same_run`` has compared the names.
    """
    import transformers.trainer as module

    original = getattr(module, "deepspeed_load_checkpoint", None)
    if original is None or "load_module_strict" in inspect.signature(original).parameters:
        yield
        return

    def load(engine: Any, checkpoint_path: str, **kwargs: Any) -> Any:
        strict = engine.load_checkpoint

        def lenient(*args: Any, **options: Any) -> Any:
            return strict(*args, **{**options, "load_module_strict": False})

        engine.load_checkpoint = lenient
        try:
            return original(engine, checkpoint_path, **kwargs)
        finally:
            del engine.load_checkpoint

    module.deepspeed_load_checkpoint = load
    try:
        yield
    finally:
        module.deepspeed_load_checkpoint = original
