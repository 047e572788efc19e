"""Saving: the upstream functions that assume deepspeed and CUDA, and the non-LoRA weights of a checkpoint."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from llava_faba.model.checkpoints import IMAGE_PROJECTOR_FILE, NON_LORA, PROJECTOR_FILE
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
    """Wrap ``get_peft_state_non_lora_maybe_zero_3``: EmoLA's projectors belong to the checkpoint when frozen as well.

    The base need not hold them: the prior projector never, the image projector not after ``--pretrain_mm_mlp_adapter``.
    """

    @functools.wraps(original)
    def get_peft_state_non_lora_maybe_zero_3(
        named_params: Iterable[tuple[str, Any]], require_grad_only: bool = True
    ) -> dict[str, torch.Tensor]:
        parameters = list(named_params)
        state = original(parameters, require_grad_only=require_grad_only)
        if not any(PROJECTOR_NAME in name for name, _ in parameters):
            return state
        kept = (PROJECTOR_NAME, IMAGE_PROJECTOR_FILE)
        frozen = [(name, value) for name, value in parameters if any(k in name for k in kept) and name not in state]
        return {**state, **original(frozen, require_grad_only=False)}

    return get_peft_state_non_lora_maybe_zero_3


def wrap_safe_save(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``safe_save_model_for_hf_trainer``: under DeepSpeed it waits for CUDA, which a CPU does not have.

    Of a stage that trains projectors alone it saves the image projector; the prior projector goes into a file beside.
    """

    @functools.wraps(original)
    def safe_save_model_for_hf_trainer(trainer: Any, output_dir: str) -> None:
        only_projectors = bool(getattr(trainer.args, "tune_mm_mlp_adapter", False))
        if trainer.deepspeed and not torch.cuda.is_available() and not only_projectors:
            trainer.save_model(output_dir)
            return
        original(trainer=trainer, output_dir=output_dir)
        if only_projectors:
            write_prior_projector(trainer, Path(output_dir))

    return safe_save_model_for_hf_trainer


def write_prior_projector(trainer: Any, folder: Path) -> None:
    """Write ``landmark_feature_projector.bin``, where there is a prior; under ZeRO-3 every process must call it."""
    from llava.train import train as upstream

    state = upstream.get_mm_adapter_state_maybe_zero_3(trainer.model.named_parameters(), [PROJECTOR_NAME])
    if state and trainer.args.should_save:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state, folder / f"{PROJECTOR_FILE}.bin")


@contextlib.contextmanager
def saved_for_use(model: Any) -> Iterator[None]:
    """Configs that are saved within say ``use_cache`` as that of a finished model does.

    LLaVA switches it off while it trains; a checkpoint that kept this would answer many times slower.
    """
    before = model.config.use_cache
    model.config.use_cache = True
    try:
        yield
    finally:
        model.config.use_cache = before


def write_checkpoint(trainer: Any, folder: Path) -> None:
    """Write the model as the end of training would; under ZeRO-3 every process must call it."""
    from llava.train import train as upstream

    if not trainer.args.lora_enable:
        upstream.safe_save_model_for_hf_trainer(trainer, str(folder))
        return
    adapter = upstream.get_peft_state_maybe_zero_3(trainer.model.named_parameters(), trainer.args.lora_bias)
    non_lora = gather_non_lora(trainer.model)
    if trainer.args.should_save:
        trainer.model.save_pretrained(folder, state_dict=adapter)
        write_non_lora(trainer.model, non_lora, folder)


def gather_non_lora(model: Any) -> dict[str, torch.Tensor]:
    """The trainable weights that are not LoRA, on the CPU; under ZeRO-3 every process must call it."""
    from llava.train import train as upstream

    return upstream.get_peft_state_non_lora_maybe_zero_3(model.named_parameters())


def write_non_lora(model: Any, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Write them and config.json into a checkpoint folder, which can then be loaded like a finished model."""
    model.config.save_pretrained(folder)
    torch.save(state, folder / f"{NON_LORA}.bin")
