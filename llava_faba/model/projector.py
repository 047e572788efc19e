"""The prior projector: facial prior (batch, prior size) to one token's embedding (batch, hidden size).

It is a sibling of LLaVA's ``mm_projector`` under the name that the reference checkpoints use
(docs/decisions/0001-sibling-projector.md), and is built by LLaVA's own projector builder.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from llava.model.multimodal_projector.builder import build_vision_projector

from llava_faba.errors import CheckpointError, UserError
from llava_faba.model.config import PRIOR_SIZE_KEY, prior_size

PROJECTOR_NAME = "landmark_feature_projector"


def build_prior_projector(config: Any) -> torch.nn.Module:
    """A fresh projector for ``config``: ``linear``, ``mlpNx_gelu`` or ``identity``.

    Raises UserError for an unknown type, and for ``identity`` when prior size and hidden size differ.
    """
    size, hidden = prior_size(config), config.hidden_size
    kind = getattr(config, "facial_prior_projector_type", None) or getattr(config, "mm_projector_type", "linear")
    if kind == "identity" and size != hidden:
        raise UserError(
            f"facial_prior_projector_type 'identity' needs priors of the model's hidden size {hidden}, these have "
            f"{size}; use 'linear' or 'mlp2x_gelu'."
        )
    try:
        return build_vision_projector(SimpleNamespace(mm_projector_type=kind, mm_hidden_size=size, hidden_size=hidden))
    except ValueError as error:
        raise UserError(
            f"facial_prior_projector_type '{kind}' is unknown; use 'linear', 'mlp2x_gelu' (or another number of "
            "layers) or 'identity'."
        ) from error


def projector_state(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The projector's own entries of a state dict, under the projector's own names ("0.weight", ...)."""
    marker = PROJECTOR_NAME + "."
    return {key.split(marker, 1)[1]: value for key, value in weights.items() if marker in key}


def wrap_initialize_vision_modules(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``LlavaMetaModel.initialize_vision_modules``: where an expert was asked for, make the prior projector."""

    @functools.wraps(original)
    def initialize_vision_modules(self: Any, model_args: Any, fsdp: Any = None) -> None:
        _check_files(model_args)
        original(self, model_args, fsdp=fsdp)
        if getattr(model_args, "facial_prior_size", None) is not None:
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
    setattr(config, PRIOR_SIZE_KEY, model_args.facial_prior_size)
    for key, value in model_args.facial_prior_config().items():
        setattr(config, key, value)
    if getattr(model, PROJECTOR_NAME, None) is None:
        setattr(model, PROJECTOR_NAME, build_prior_projector(config))
    projector = getattr(model, PROJECTOR_NAME)
    _follow_image_projector(projector, model.mm_projector)
    if model_args.pretrain_facial_prior_projector is not None:
        _load_pretrained(projector, Path(model_args.pretrain_facial_prior_projector), config)
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


def _load_pretrained(projector: torch.nn.Module, path: Path, config: Any) -> None:
    """Start from a trained projector; it goes on with the normalization that it was trained with."""
    from llava_faba.model.checkpoints import NON_LORA, PROJECTOR_FILE, inspect_checkpoint

    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        names = (f"{PROJECTOR_FILE}.bin", f"{PROJECTOR_FILE}.safetensors", f"{NON_LORA}.bin")
        path = next((path / name for name in names if (path / name).is_file()), path / names[0])
    load_projector_file(projector, path)
    if not (folder / "config.json").is_file():
        return
    trained = inspect_checkpoint(folder).config
    method = trained.get("facial_prior_normalization", "none")
    if method != config.facial_prior_normalization:
        raise UserError(
            f"{path}: this projector was trained with --facial_prior_normalization {method}, not "
            f"{config.facial_prior_normalization}; pass that flag."
        )
    config.facial_prior_statistics = trained.get("facial_prior_statistics")


def load_projector_file(projector: torch.nn.Module, path: Path) -> None:
    """Load a ``landmark_feature_projector.bin`` (or a ``non_lora_trainables.bin``) into ``projector``.

    Raises CheckpointError when the file is absent, unsafe, or holds no projector of this shape.
    """
    from llava_faba.model.checkpoints import read_weights

    state = projector_state(read_weights(path))
    if not state:
        raise CheckpointError(f"{path}: no weights named '{PROJECTOR_NAME}' in this file.")
    try:
        projector.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the prior projector does not fit this model: {error}") from error
