"""Saving: the upstream functions that assume deepspeed and CUDA, and the non-LoRA weights of a checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from llava_faba.model.checkpoints import NON_LORA
from llava_faba.model.projector import PROJECTOR_NAME


def wrap_maybe_zero_3(original: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Wrap ``maybe_zero_3``: only a parameter that ZeRO-3 has partitioned needs deepspeed."""

    @functools.wraps(original)
    def maybe_zero_3(param: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        if hasattr(param, "ds_id"):
            return original(param, *args, **kwargs)
        return param.detach().cpu().clone()

    return maybe_zero_3


def wrap_non_lora_state(original: Callable[..., dict[str, torch.Tensor]]) -> Callable[..., dict[str, torch.Tensor]]:
    """Wrap ``get_peft_state_non_lora_maybe_zero_3``: a frozen prior projector belongs to the checkpoint as well."""

    @functools.wraps(original)
    def get_peft_state_non_lora_maybe_zero_3(
        named_params: Iterable[tuple[str, Any]], require_grad_only: bool = True
    ) -> dict[str, torch.Tensor]:
        parameters = list(named_params)
        state = original(parameters, require_grad_only=require_grad_only)
        frozen = [(name, value) for name, value in parameters if PROJECTOR_NAME in name and name not in state]
        return {**state, **original(frozen, require_grad_only=False)}

    return get_peft_state_non_lora_maybe_zero_3


def wrap_safe_save(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``safe_save_model_for_hf_trainer``: under DeepSpeed it waits for CUDA, which a CPU does not have."""

    @functools.wraps(original)
    def safe_save_model_for_hf_trainer(trainer: Any, output_dir: str) -> None:
        if trainer.deepspeed and not torch.cuda.is_available() and not _only_adapter(trainer):
            trainer.save_model(output_dir)
            return
        original(trainer=trainer, output_dir=output_dir)

    return safe_save_model_for_hf_trainer


def _only_adapter(trainer: Any) -> bool:
    return bool(getattr(trainer.args, "tune_mm_mlp_adapter", False))


def gather_non_lora(model: Any) -> dict[str, torch.Tensor]:
    """The trainable weights that are not LoRA, on the CPU; under ZeRO-3 every process must call it."""
    from llava.train import train as upstream

    return upstream.get_peft_state_non_lora_maybe_zero_3(model.named_parameters())


def write_non_lora(model: Any, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Write them and config.json into a checkpoint folder, which can then be loaded like a finished model."""
    model.config.save_pretrained(folder)
    torch.save(state, folder / f"{NON_LORA}.bin")
