"""Checkpoints to and from the format of the EmoLA authors' release (docs/training.md, "The authors' format").

The format has no place for a normalization of priors, and its code builds the prior projector with the image
projector's type. What it cannot express is refused, or, where that can be exact, folded into the weights.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faba_bench.files.folders import new_folder
from faba_bench.files.paths import regular_file

from llava_faba.compat.peft_keys import PEFT_0_4
from llava_faba.errors import CheckpointError, UserError
from llava_faba.model.checkpoints import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    NON_LORA,
    PROJECTOR_FILE,
    Checkpoint,
    inspect_checkpoint,
    read_weights,
)
from llava_faba.model.config import PRIOR_SIZE_KEY, REFERENCE_EXPERT
from llava_faba.model.handing_over import whole_weights
from llava_faba.model.projector import PROJECTOR_NAME, projector_state
from llava_faba.vetting import side_files, tokenizer
from llava_faba.vetting.prior_parts import SIZES_KEY
from llava_faba.vetting.prior_tokens import GLOBAL, kind_of

NO_FACE_FILE = "no_face_prior.npy"
REFERENCE_SIZE = 212  # of emola-106, and of FABA-Instruct's landmark vectors

# Later inventions of PEFT that change what an adapter computes.
_ADAPTER_NEWS = (
    "alpha_pattern",
    "layer_replication",
    "lora_bias",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_dora",
    "use_qalora",
    "use_rslora",
)
_DEFAULTS = {"facial_prior_expert": REFERENCE_EXPERT, "facial_prior_normalization": "none"}
_FOLDED = ("facial_prior_normalization", "facial_prior_statistics")
_TEXTS = ("LICENSE", "LICENSE.txt", "NOTICE", "NOTICE.txt")
_TEXT_LIMIT = 4 << 20
_WRITTEN = ("config.json", ADAPTER_CONFIG, "model.safetensors.index.json", "pytorch_model.bin.index.json")


def export_checkpoint(model_path: str | Path, out: Path, *, fold_normalization: bool = False) -> list[str]:
    """Write an EmoLA checkpoint in the authors' format into the new folder ``out``; returns what the user must know.

    Tensors keep their bits. ``fold_normalization``: put ``standardize`` into the projector's first layer, which is
    exact (up to rounding) for every prior that holds a face; the vector that then stands for "no face" is written as
    ``no_face_prior.npy``, float32 (prior size,).

    Raises CheckpointError for a checkpoint that is not EmoLA's, incomplete or unsafe to read; UserError for one that
    the format cannot express, and for a folder that is not empty.
    """
    checkpoint = _emola(model_path)
    config = dict(checkpoint.config)
    _check_expressible(checkpoint, fold_normalization)
    checkpoint.check_weights()
    notes = []
    with new_folder(out, error=UserError) as folder:
        weights, projector = _weights(checkpoint)
        if config.get("facial_prior_normalization", "none") != "none":
            replaced = _fold(config, projector)
            np.save(folder / NO_FACE_FILE, replaced)
            for key in _FOLDED:
                config.pop(key, None)
            notes.append(
                "'standardize' is now part of the projector's first layer. A picture without a face was a zero vector; "
                f"in this format its prior must be {NO_FACE_FILE}, or the answer differs."
            )
        if checkpoint.is_adapter:
            torch.save(read_weights(_adapter_file(checkpoint)), folder / f"{ADAPTER_WEIGHTS}.bin")
            torch.save({**weights, **projector}, folder / f"{NON_LORA}.bin")
            adapter = {key: value for key, value in (checkpoint.adapter or {}).items() if key in PEFT_0_4}
            _write_json(folder / ADAPTER_CONFIG, adapter)
        else:
            _copy_full(checkpoint, folder)
        torch.save(projector, folder / f"{PROJECTOR_FILE}.bin")
        config = {key: value for key, value in config.items() if (key, value) not in _DEFAULTS.items()}
        _write_json(folder / "config.json", {**config, "model_type": "emollava"})
        notes += _copy_others(checkpoint, folder)
    expert = checkpoint.config.get("facial_prior_expert", REFERENCE_EXPERT)
    if expert not in (REFERENCE_EXPERT, "precomputed"):
        notes.append(f"The authors' code does not know the expert '{expert}': give it priors that this expert made.")
    return notes


def import_checkpoint(model_path: str | Path, out: Path, *, expert: str | None = None) -> list[str]:
    """Write a checkpoint of the authors' format as one of ours into the new folder ``out``; returns notes.

    LoRA weights become safetensors; the prior projector moves into the non-LoRA weights, where one file holds it.
    ``expert``: the one that made the priors; default: what config.json says, else ``emola-106``, the authors'.

    Raises CheckpointError as ``export_checkpoint``, UserError for an unknown expert and a folder that is not empty.
    """
    from safetensors.torch import save_file

    checkpoint = _emola(model_path)
    checkpoint.check_weights()
    _check_expert(checkpoint, expert)
    notes = []
    with new_folder(out, error=UserError) as folder:
        weights, projector = _weights(checkpoint)
        if checkpoint.is_adapter:
            adapter = {name: value.contiguous() for name, value in read_weights(_adapter_file(checkpoint)).items()}
            save_file(adapter, folder / f"{ADAPTER_WEIGHTS}.safetensors", metadata={"format": "pt"})
            torch.save({**weights, **projector}, folder / f"{NON_LORA}.bin")
            _write_json(folder / ADAPTER_CONFIG, checkpoint.adapter or {})
            if _copies_differ(checkpoint, projector):
                notes.append(
                    f"{NON_LORA}.bin held another prior projector than {PROJECTOR_FILE}.bin, which the authors' "
                    "inference loads last: the latter was taken."
                )
        else:
            _copy_full(checkpoint, folder)
        config = {**_DEFAULTS, **checkpoint.config, "model_type": "emollava"}
        if expert is not None:
            config["facial_prior_expert"] = expert
        _write_json(folder / "config.json", config)
        notes += _copy_others(checkpoint, folder)
    return notes


def _emola(model_path: str | Path) -> Checkpoint:
    checkpoint = inspect_checkpoint(model_path)
    if not checkpoint.is_emola:
        raise CheckpointError(f"{checkpoint.folder}: a plain LLaVA checkpoint; it has no facial prior to convert.")
    if checkpoint.is_projectors_only:
        raise CheckpointError(f"{checkpoint.folder}: projectors without a model; there is nothing to convert.")
    return checkpoint


def _check_expert(checkpoint: Checkpoint, expert: str | None) -> None:
    from llava_faba.experts import part_classes

    if expert is not None:
        part_classes(expert)  # unknown names end here
    elif "facial_prior_expert" not in checkpoint.config and checkpoint.config[PRIOR_SIZE_KEY] != REFERENCE_SIZE:
        raise UserError(
            f"{checkpoint.folder}: its priors have {checkpoint.config[PRIOR_SIZE_KEY]} numbers, so they are not those "
            f"of '{REFERENCE_EXPERT}' ({REFERENCE_SIZE}), the authors' expert; pass --expert."
        )


def _check_expressible(checkpoint: Checkpoint, fold_normalization: bool) -> None:
    config, place = checkpoint.config, checkpoint.folder
    tokens = kind_of(config)
    if tokens != GLOBAL:
        raise UserError(
            f"{place}: the authors' format has one token for a prior, and this model was trained with "
            f"--facial_prior_tokens {tokens}; train with '{GLOBAL}' to export."
        )
    image_type = config.get("mm_projector_type", "linear")
    prior_type = config.get("facial_prior_projector_type") or image_type
    if prior_type != image_type or prior_type == "linear":
        raise UserError(
            f"{place}: the authors' code builds the prior projector with mm_projector_type ('{image_type}') and fails "
            f"for 'linear'; this checkpoint's is '{prior_type}'."
        )
    method = config.get("facial_prior_normalization", "none")
    if method == "standardize" and not fold_normalization:
        raise UserError(
            f"{place}: the authors' format has no normalization of priors, this model was trained with 'standardize'. "
            "--fold-normalization puts it into the projector's first layer (see what it says of pictures without a "
            "face), or train with --facial_prior_normalization none."
        )
    if method == "standardize" and len(config.get(SIZES_KEY) or ()) > 1:
        raise UserError(
            f"{place}: the priors are of several experts ('{config.get('facial_prior_expert')}'), each normalized for "
            "itself; a picture in which one of them has found no face could not be told to the authors' code. Train "
            "with --facial_prior_normalization none to export."
        )
    if method not in ("none", "standardize"):
        raise UserError(
            f"{place}: the authors' format cannot express facial_prior_normalization '{method}', which is not linear "
            "in the prior and cannot become part of a weight; train with 'none' or 'standardize' to export."
        )
    if method == "standardize" and (prior_type == "identity" or not checkpoint.is_adapter):
        raise UserError(
            f"{place}: the normalization is folded into the first layer of a LoRA checkpoint's prior projector; an "
            "'identity' projector has no layer, and a merged model's files are not rewritten (export, then merge)."
        )
    news = [key for key in _ADAPTER_NEWS if (checkpoint.adapter or {}).get(key)]
    if news:
        raise UserError(f"{place / ADAPTER_CONFIG}: the authors' PEFT does not know {', '.join(news)}.")


def _weights(checkpoint: Checkpoint) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The non-LoRA weights without the prior projector's, and those of the projector, under the authors' names."""
    if not checkpoint.is_adapter:
        return {}, _named(projector_state(checkpoint.full_projector_weights()))
    path = checkpoint.weights_file(NON_LORA)
    others = {} if path is None else read_weights(path)
    others = {name: value for name, value in others.items() if f"{PROJECTOR_NAME}." not in name}
    return others, _named(projector_state(checkpoint.projector_weights()))


def _named(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"base_model.model.model.{PROJECTOR_NAME}.{name}": value for name, value in state.items()}


def _adapter_file(checkpoint: Checkpoint) -> Path:
    path = checkpoint.weights_file(ADAPTER_WEIGHTS)
    if path is None:
        raise CheckpointError(f"{checkpoint.folder}: no {ADAPTER_WEIGHTS}.safetensors and no {ADAPTER_WEIGHTS}.bin.")
    return path


def _copies_differ(checkpoint: Checkpoint, projector: dict[str, torch.Tensor]) -> bool:
    path = checkpoint.weights_file(NON_LORA)
    other = _named(projector_state(read_weights(path))) if path else {}
    return bool(other) and not all(
        name in other and torch.equal(value, other[name]) for name, value in projector.items()
    )


def _fold(config: dict[str, Any], projector: dict[str, torch.Tensor]) -> np.ndarray:
    """Put (x - mean) / scale into the first layer, in place; returns the prior that gives what zeros gave before."""
    statistics = config["facial_prior_statistics"]
    mean, scale = (torch.tensor(statistics[key], dtype=torch.float64) for key in ("mean", "scale"))
    first = f"base_model.model.model.{PROJECTOR_NAME}.0"
    weight, bias = projector[f"{first}.weight"], projector[f"{first}.bias"]
    folded = weight.double() / scale
    projector[f"{first}.weight"] = folded.to(weight.dtype)
    projector[f"{first}.bias"] = (bias.double() - folded @ mean).to(bias.dtype)
    return mean.numpy().astype(np.float32)


def _copy_full(checkpoint: Checkpoint, folder: Path) -> None:
    contents, links = whole_weights(checkpoint)
    for name, path in links.items():
        shutil.copyfile(path, folder / name)
    for name, content in contents.items():
        _write_json(folder / name, content)


def _copy_others(checkpoint: Checkpoint, target: Path) -> list[str]:
    """The tokenizer's and other small files, as our tables list them, and texts; returns what is left out, in words."""
    source = checkpoint.folder
    contents: dict[str, Any] = {}
    if not checkpoint.is_adapter or (source / tokenizer.MODEL).exists():
        contents.update(tokenizer.tokenizer_files(source, checkpoint.family))
    generation = side_files.generation_config(source)
    if generation is not None:
        contents[side_files.GENERATION] = generation
    left_out = []
    for path in sorted(source.iterdir()):
        if path.suffix == ".md" or path.name in _TEXTS:
            safe = side_files.inside_folder(source, path.name, what=str(source))
            contents[path.name] = regular_file(safe, limit=_TEXT_LIMIT, error=CheckpointError).read_bytes()
        elif path.suffix == ".json" and path.name not in (*contents, *_WRITTEN) and not (target / path.name).exists():
            left_out.append(path.name)
    for name, content in contents.items():
        if isinstance(content, bytes):
            (target / name).write_bytes(content)
        else:
            _write_json(target / name, content)
    return [f"not copied, for they are no part of the model: {', '.join(left_out)}."] if left_out else []


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
