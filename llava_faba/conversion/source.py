"""An EmoLA folder of LLaVA's home as tensors of the merged model, one at a time.

Nothing is loaded before it is asked for: a checkpoint of 13 GB passes through in less memory than its largest tensor
needs twice. Files are found, checked and read by ``model/checkpoints.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from llava_faba.conversion.names import PRIOR_PROJECTOR, to_native
from llava_faba.errors import CheckpointError
from llava_faba.model.checkpoints import (
    ADAPTER_WEIGHTS,
    IMAGE_PROJECTOR_FILE,
    NON_LORA,
    Checkpoint,
    inspect_checkpoint,
    model_name,
)
from llava_faba.model.handing_over import find_tower
from llava_faba.vetting.prior_tokens import check_one_token
from llava_faba.vetting.weights import read_weights, shapes

_TOWER_INSIDE = "model.vision_tower.vision_tower."
_NOT_WEIGHTS = (".rotary_emb.inv_freq", ".embeddings.position_ids")  # buffers that older releases saved


@dataclass(frozen=True)
class Lora:
    """What an adapter adds to a weight: ``scale`` times ``up`` (out, r) times ``down`` (r, in)."""

    down: Callable[[], torch.Tensor]
    up: Callable[[], torch.Tensor]
    scale: float
    transposed: bool = False

    def delta(self) -> torch.Tensor:
        """The added weight (out, in), computed in float32."""
        added = self.up().float() @ self.down().float() * self.scale
        return added.T if self.transposed else added


@dataclass
class Source:
    """``tensors``: name in LLaVA's home (see ``conversion/names.py``) to a function that reads it, without LoRA.

    ``lora``: name of a weight to what is added to it. ``folder``: of the checkpoint; ``tokens``: where its tokenizer
    lies; ``tower``: the vision tower. ``notes``: what the user must know.
    """

    checkpoint: Checkpoint
    tower: Checkpoint
    tokens: Path
    tensors: dict[str, Callable[[], torch.Tensor]]
    lora: dict[str, Lora] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def config(self) -> dict[str, Any]:
        return self.checkpoint.config

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """A tensor of the merged model, in ``dtype`` or the type of its file; the sum with LoRA is made in float32."""
        value = self.tensors[name]()
        lora = self.lora.get(name)
        merged = value if lora is None else value.float() + lora.delta()
        return merged.to(dtype or value.dtype)


def open_source(model_path: str | Path, model_base: str | None = None) -> Source:
    """Look into a checkpoint, its base and its vision tower; reads no weights yet.

    Raises CheckpointError for folders that are incomplete, unsafe to read, or no EmoLA.
    """
    checkpoint = inspect_checkpoint(model_path)
    if not checkpoint.is_emola:
        raise CheckpointError(f"{checkpoint.folder}: a plain LLaVA checkpoint; it has no facial prior to convert.")
    check_one_token(checkpoint.config, checkpoint.folder)
    checkpoint.check_weights()
    base = checkpoint.checked_base(model_base) if checkpoint.needs_base else None
    whole = base or checkpoint
    tower = _tower(checkpoint, base)
    tensors = _lazy(path for path in whole.weights_files() if path.stem != "landmark_feature_projector")
    notes = []
    if base is not None:
        beside = checkpoint.weights_file(NON_LORA if checkpoint.is_adapter else IMAGE_PROJECTOR_FILE)
        if beside is not None:
            tensors |= {model_name(name): reader for name, reader in _lazy([beside]).items()}
        tensors |= {name: functools.partial(_held, value) for name, value in checkpoint.projector_weights().items()}
    inside = {name: reader for name, reader in tensors.items() if name.startswith(_TOWER_INSIDE)}
    tensors = {name: reader for name, reader in tensors.items() if name not in inside and not _is_buffer(name)}
    own_tower = inside if checkpoint.config.get("unfreeze_mm_vision_tower") else {}
    if inside and not own_tower:
        notes.append(
            "The vision tower's weights inside the checkpoint were left, as LLaVA leaves them: it reads the tower's "
            "folder."
        )
    tensors |= _tower_tensors(tower, own_tower)
    source = Source(checkpoint, tower, whole.folder, tensors, notes=notes)
    if checkpoint.is_adapter:
        source.lora = _lora(checkpoint, tensors)
    _check_all_known(source)
    return source


def _tower(checkpoint: Checkpoint, base: Checkpoint | None) -> Checkpoint:
    named = checkpoint.config.get("mm_vision_tower")
    if not named:
        raise CheckpointError(f"{checkpoint.folder}: config.json names no vision tower (mm_vision_tower).")
    tower = find_tower(named, checkpoint.folder, base.folder if base else None)
    if tower.family != "clip":
        raise CheckpointError(
            f"{checkpoint.folder}: its vision tower {tower.folder} is a {tower.family}; transformers' LLaVA is written "
            "with CLIP towers here. The checkpoint stays usable in LLaVA's home."
        )
    return tower


def _tower_tensors(
    tower: Checkpoint, own: dict[str, Callable[[], torch.Tensor]]
) -> dict[str, Callable[[], torch.Tensor]]:
    """The tower's tensors, ``vision_tower.vision_model.*``; ``own``: those that the checkpoint trained itself."""
    found = {}
    for name, reader in _lazy(tower.weights_files()).items():
        plain = name.removeprefix("vision_model.")
        if plain.split(".")[0] in ("embeddings", "pre_layrnorm", "encoder", "post_layernorm") and not _is_buffer(name):
            found[f"vision_tower.vision_model.{plain}"] = reader
    for name, reader in own.items():
        plain = name.removeprefix(_TOWER_INSIDE).removeprefix("vision_model.")
        if not _is_buffer(name):
            found[f"vision_tower.vision_model.{plain}"] = reader
    return found


def _lora(checkpoint: Checkpoint, tensors: dict[str, Callable[[], torch.Tensor]]) -> dict[str, Lora]:
    adapter = checkpoint.adapter or {}
    path = checkpoint.weights_file(ADAPTER_WEIGHTS)
    assert path is not None  # check_weights saw to it
    for key in ("alpha_pattern", "rank_pattern", "use_dora", "use_rslora", "lora_bias", "layer_replication"):
        if adapter.get(key):
            raise CheckpointError(
                f"{checkpoint.folder}: adapter_config.json has {key}, which is not converted; merge it with "
                "'llava-faba merge' first."
            )
    if str(adapter.get("bias", "none")) != "none":
        raise CheckpointError(f"{checkpoint.folder}: an adapter with biases is not converted; merge it first.")
    rank, alpha = int(adapter.get("r", 8)), float(adapter.get("lora_alpha", 8))
    readers = {model_name(name): reader for name, reader in _lazy([path]).items()}
    found = {}
    for name, reader in readers.items():
        if ".lora_A." not in name:
            continue
        target = name.replace(".lora_A.default.", ".lora_A.").replace(".lora_A.weight", ".weight")
        up = readers.get(name.replace(".lora_A.", ".lora_B."))
        if up is None or target not in tensors:
            raise CheckpointError(f"{path}: '{name}' adapts nothing that this model has, or has no lora_B beside it.")
        found[target] = Lora(reader, up, alpha / rank, bool(adapter.get("fan_in_fan_out")))
    odd = [name for name in readers if ".lora_A." not in name and ".lora_B." not in name]
    if odd or not found:
        raise CheckpointError(f"{path}: holds {odd[0] if odd else 'no LoRA weights'}, which is not converted.")
    return found


def _check_all_known(source: Source) -> None:
    unknown = [name for name in source.tensors if to_native(name) is None]
    if unknown:
        raise CheckpointError(
            f"{source.checkpoint.folder}: {len(unknown)} weights have no place in the converted model, {unknown[0]} "
            "for one; this kind of checkpoint is not converted."
        )
    for name in ("model.embed_tokens.weight", "model.norm.weight", f"{PRIOR_PROJECTOR}0.weight"):
        single = name.replace("0.weight", "weight")
        if name not in source.tensors and single not in source.tensors:
            raise CheckpointError(f"{source.checkpoint.folder}: the weights hold no '{name}'.")


def _lazy(paths: Any) -> dict[str, Callable[[], torch.Tensor]]:
    return {name: functools.partial(_read, path, name) for path in paths for name in _names(path)}


def _names(path: Path) -> list[str]:
    return list(shapes(path))


def _read(path: Path, name: str) -> torch.Tensor:
    if path.suffix == ".safetensors":
        return read_weights(path, only=name)[name]
    return _pickled(path)[name]


@functools.lru_cache(maxsize=2)
def _pickled(path: Path) -> dict[str, torch.Tensor]:
    """Of a zip the tensors stay on the disk until they are used; the legacy format is read whole."""
    return read_weights(path)


def _held(value: torch.Tensor) -> torch.Tensor:
    return value


def _is_buffer(name: str) -> bool:
    return name.endswith(_NOT_WEIGHTS)
