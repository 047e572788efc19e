"""LLaVA's trainer under a Trainer whose interface has moved on."""

from __future__ import annotations

import inspect
from typing import Any

from llava_faba.compat.engine import replaced


def accept_tokenizer(original: Any) -> Any:
    """``Trainer(tokenizer=...)``, which LLaVA's ``train()`` says: transformers 5 has only ``processing_class``."""
    from transformers import Trainer

    if "tokenizer" in inspect.signature(Trainer.__init__).parameters:
        return original

    class LLaVATrainer(original):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            if "tokenizer" in kwargs:
                kwargs["processing_class"] = kwargs.pop("tokenizer")
            super().__init__(*args, **kwargs)

    return _named(LLaVATrainer, original)


def accept_dataset(original: Any) -> Any:
    """``LLaVATrainer._get_train_sampler(self)``: newer trainers call it with the dataset, always their own."""
    from transformers import Trainer

    accepted = len(inspect.signature(original._get_train_sampler).parameters)
    if accepted >= len(inspect.signature(Trainer._get_train_sampler).parameters):
        return original

    class LLaVATrainer(original):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return super()._get_train_sampler()

    return _named(LLaVATrainer, original)


def save_without_metrics(original: Any) -> Any:
    """``LLaVATrainer._save_checkpoint`` hands on ``metrics``, which newer trainers do not take.

    It adds something to transformers' only in the pretraining stage, where it hands on nothing.
    """
    from transformers import Trainer

    if "metrics" in inspect.signature(Trainer._save_checkpoint).parameters:
        return original

    class LLaVATrainer(original):
        def _save_checkpoint(self, model: Any, trial: Any, metrics: Any = None) -> None:
            if getattr(self.args, "tune_mm_mlp_adapter", False):
                super()._save_checkpoint(model, trial, metrics)
            else:
                Trainer._save_checkpoint(self, model, trial)

    return _named(LLaVATrainer, original)


def rotate_as_method(original: Any) -> Any:
    """``Trainer._rotate_checkpoints``, which our resuming trainer overrides: transformers 5 has made it a function.

    The trainer's copy of the function is the method's again while a checkpoint is saved.
    """
    import transformers.trainer as module

    if hasattr(original, "_rotate_checkpoints"):
        return original
    rotate = module.rotate_checkpoints

    class LLaVATrainer(original):
        def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            with replaced(module, "rotate_checkpoints", self._rotate_checkpoints):
                super()._save_checkpoint(*args, **kwargs)

        def _rotate_checkpoints(self, *args: Any, **kwargs: Any) -> None:
            rotate(*args, **kwargs)

    return _named(LLaVATrainer, original)


def _named(cls: Any, original: Any) -> Any:
    cls.__name__, cls.__qualname__, cls.__module__ = original.__name__, original.__qualname__, original.__module__
    return cls
