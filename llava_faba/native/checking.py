"""What is checked in a converted folder: transformers reads its files itself, and takes nearly anything.

Missing weights it draws at random and notes in a log; other faults show up as another answer, or not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from llava_faba.errors import CheckpointError
from llava_faba.vetting import families
from llava_faba.vetting.native import vet_folder
from llava_faba.vetting.prior_tokens import check_one_token
from llava_faba.vetting.side_files import PICTURE_TABLE

log = logging.getLogger("llava_faba")
_NEEDED = ("landmark_feature_hidden_size", "facial_prior_projector_type", "facial_prior_normalization")
_KERNELS = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal", "experts_implementation")


def checked_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """config.json's values without those that would fetch code. Raises CheckpointError for values that cannot be."""
    kept = _without_kernels(values)
    for key in _NEEDED:
        if key in kept and kept[key] is None:
            raise CheckpointError(f"config.json: {key} is null; convert the checkpoint again.")
    families.prior_settings(kept, "config.json")
    check_one_token(kept, "config.json")
    for key in ("text_config", "vision_config"):
        if isinstance(kept.get(key), Mapping):
            kept[key] = _without_kernels(kept[key])
    return kept


def _without_kernels(values: Mapping[str, Any]) -> dict[str, Any]:
    """A name with a slash is a kernel on the hub: code. Whoever wants one names it in ``from_pretrained``."""
    found = sorted(key for key in _KERNELS if "/" in str(values.get(key) or ""))
    if found:
        log.warning("config.json: %s names code on the hub and is left out.", ", ".join(found))
    return {key: value for key, value in values.items() if key not in found}


def check_pictures(values: Mapping[str, Any]) -> None:
    """How pictures are prepared. Raises CheckpointError for sizes beyond reason and numbers that cannot be."""
    for key, check in PICTURE_TABLE.items():
        value = values.get(key)
        if value is None:
            continue
        try:
            check(_plain(value))
        except ValueError as error:
            raise CheckpointError(f"processor_config.json: {key} must be {error}.") from None
    families.prior_settings({"image_grid_pinpoints": values.get("image_grid_pinpoints")}, "processor_config.json")


def check_colours(pictures: Mapping[str, Any], config: Mapping[str, Any], where: str) -> None:
    """Raise CheckpointError, naming both, where a processor normalizes pixels otherwise than ``config`` says.

    The model would answer about pictures of other colours, and undo them wrongly where it computes the prior.
    """
    for key in ("image_mean", "image_std"):
        here, there = _plain(pictures.get(key)), _plain(config.get(key))
        if here is not None and there is not None and list(here) != list(there):
            raise CheckpointError(
                f"processor_config.json: {key} is {here}, and {where} says {there}: the answers would be about other "
                f"colours than the model knows. Copy the folder again; after a training with other values, set "
                f"model.config.{key} before it is saved."
            )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


class WholeFolder:
    """Of a model class, before transformers' own: a folder is looked at before it is read, and read whole."""

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """As in transformers. Raises CheckpointError where weights are missing, too many, or no numbers: transformers
        would draw them at random; and for files that lead out of their folder."""
        vet_folder(args[0] if args else kwargs.get("pretrained_model_name_or_path") or "")
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)  # type: ignore[misc]
        check_loaded(model, info)
        return (model, info) if output_loading_info else model


def check_loaded(model: torch.nn.Module, info: Mapping[str, Any]) -> None:
    """``info``: what ``from_pretrained`` says of its loading. Raises CheckpointError unless every weight is the file's,
    and a number."""
    kinds = {"missing": info.get("missing_keys"), "of no part of this model": info.get("unexpected_keys")}
    found = [f"{len(names)} {what}, {sorted(names)[0]} for one" for what, names in kinds.items() if names]
    if found:
        raise CheckpointError(
            f"the model's weights are not those that its config.json asks for: {'; '.join(found)}. Copy or convert the "
            "folder again."
        )
    for name, value in model.named_parameters():
        if value.is_floating_point() and not value.is_meta and value.numel() and not _is_finite(value.detach()):
            raise CheckpointError(f"the weights '{name}' hold NaN or infinity; the file is damaged.")


def _is_finite(value: torch.Tensor) -> bool:
    return bool(torch.isfinite(torch.stack(torch.aminmax(value)).float()).all())
