"""The prior projector is made where LLaVA makes the image projector: the seam's wrapper, and pretrained projectors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from llava_faba.errors import CheckpointError, UserError
from llava_faba.model.checkpoints import NON_LORA, PROJECTOR_FILE, inspect_checkpoint, read_weights
from llava_faba.model.config import PRIOR_SIZE_KEY, expert_name, has_prior, prior_size
from llava_faba.model.prior_origin import PriorOrigin, lone_file_needs_config
from llava_faba.model.projector import PROJECTOR_NAME, build_prior_projector, projector_state
from llava_faba.vetting.prior_tokens import REGIONS_KEY, TOKENS_KEY


def wrap_initialize_vision_modules(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``LlavaMetaModel.initialize_vision_modules``: where an expert was asked for, make the prior projector."""

    @functools.wraps(original)
    def initialize_vision_modules(self: Any, model_args: Any, fsdp: Any = None) -> None:
        _check_files(model_args)
        wants_prior = getattr(model_args, "facial_prior_size", None) is not None
        if has_prior(self.config) and not wants_prior:
            raise UserError(
                f"the base model {_name(self.config)} reads facial priors, and without them (--facial_prior_expert "
                f"none) it would forget to, while its config goes on asking for them. Pass --facial_prior_expert "
                f"{expert_name(self.config)}, or begin with a base model that has no facial prior."
            )
        fresh = getattr(self, "mm_projector", None) is None and model_args.pretrain_mm_mlp_adapter is None
        original(self, model_args, fsdp=fsdp)
        self.mm_projector.starts_untrained = fresh
        if wants_prior:
            _initialize_prior_projector(self, model_args)

    return initialize_vision_modules


def _initialize_prior_projector(model: Any, model_args: Any) -> None:
    config = model.config
    known = prior_size(config)
    if known is not None and known != model_args.facial_prior_size:
        raise UserError(
            f"the base model was trained on priors of size {known} but expert "
            f"'{model_args.facial_prior_expert}' gives {model_args.facial_prior_size}; use the expert that the base "
            "model names in its config.json."
        )
    trained = PriorOrigin.of(config, f"the base model {_name(config)}")
    if trained is not None:
        trained.check_flags(model_args.facial_prior_expert, model_args.facial_prior_normalization)
    setattr(config, PRIOR_SIZE_KEY, model_args.facial_prior_size)
    said = model_args.facial_prior_config()
    if trained is not None:
        trained.check_tokens(said.get(TOKENS_KEY), said.get(REGIONS_KEY))
    for key, value in said.items():
        setattr(config, key, value)
    if getattr(model, PROJECTOR_NAME, None) is None:
        setattr(model, PROJECTOR_NAME, build_prior_projector(config))
    projector = getattr(model, PROJECTOR_NAME)
    projector.starts_untrained = trained is None and model_args.pretrain_facial_prior_projector is None
    _follow_image_projector(projector, model.mm_projector)
    if model_args.pretrain_facial_prior_projector is not None:
        pretrained = _load_pretrained(projector, Path(model_args.pretrain_facial_prior_projector), config)
        if trained is not None and pretrained is not None:
            trained.check_same(pretrained)
        trained = trained or pretrained
    if trained is not None:
        config.facial_prior_expert = trained.name_for(model_args.facial_prior_expert)
    projector.trained_on = trained
    projector.requires_grad_(True)  # LoRA froze everything that existed when it was added


def _follow_image_projector(projector: torch.nn.Module, image_projector: torch.nn.Module) -> None:
    """ZeRO-3 packs trained weights into one buffer and wants them in one dtype: bfloat16 under --bf16."""
    from transformers.integrations import is_deepspeed_zero3_enabled

    reference = next(image_projector.parameters(), None)
    if reference is not None and is_deepspeed_zero3_enabled():
        projector.to(dtype=reference.dtype)


def _check_files(model_args: Any) -> None:
    """Refuse a file that would run code when LLaVA reads it a moment later, or that holds no numbers."""
    from llava_faba.vetting.weights import sound_shapes

    image_projector = model_args.pretrain_mm_mlp_adapter
    if image_projector is not None:
        sound_shapes(Path(image_projector))


def _load_pretrained(projector: torch.nn.Module, path: Path, config: Any) -> PriorOrigin | None:
    """Start from a trained projector; it goes on with the normalization that it was trained with."""
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        names = (f"{PROJECTOR_FILE}.bin", f"{PROJECTOR_FILE}.safetensors", f"{NON_LORA}.bin")
        path = next((path / name for name in names if (path / name).is_file()), path / names[0])
    load_projector_file(projector, path)
    beside = inspect_checkpoint(folder).config if (folder / "config.json").is_file() else {}
    trained = PriorOrigin.of(beside, f"the projector {path}")
    if trained is None:
        lone_file_needs_config(path, config.facial_prior_normalization)
        return None
    trained.check_flags(config.facial_prior_expert, config.facial_prior_normalization)
    trained.check_tokens(getattr(config, TOKENS_KEY, None), getattr(config, REGIONS_KEY, None))
    config.facial_prior_statistics = trained.statistics
    return trained


def _name(config: Any) -> str:
    return str(getattr(config, "_name_or_path", "")) or "(without a name)"


def load_projector_file(projector: torch.nn.Module, path: Path) -> None:
    """Load a ``landmark_feature_projector.bin`` (or a ``non_lora_trainables.bin``) into ``projector``.

    Raises CheckpointError when the file is absent, unsafe, or holds no projector of this shape.
    """
    state = projector_state(read_weights(path))
    if not state:
        raise CheckpointError(f"{path}: no weights named '{PROJECTOR_NAME}' in this file.")
    try:
        projector.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the prior projector does not fit this model: {error}") from error
