"""Before training starts: would what this run writes load again?

The run's config, and the names and shapes of the tensors that it would save, go through the checks that loading a
checkpoint goes through (``model/checkpoints.py``), the comparison with the base included. What would be refused after
days of training is refused now.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from llava_faba.errors import CheckpointError, UserError
from llava_faba.model.checkpoints import (
    ADAPTER_WEIGHTS,
    IMAGE_PROJECTOR_FILE,
    NON_LORA,
    PROJECTOR_FILE,
    Checkpoint,
)
from llava_faba.model.projector import PROJECTOR_NAME
from llava_faba.vetting import adapter, families, structure

_NEW_TOKENS = (
    " This run adds tokens to the vocabulary, and their embeddings would not be saved: pass --mm_use_im_patch_token "
    "False and --mm_use_im_start_end False (unless the base has those tokens) and another --version than v0, or train "
    "without --lora_enable."
)


@dataclass(frozen=True)
class PlannedCheckpoint(Checkpoint):
    """The checkpoint that a run would write to ``folder``, before a file of it exists.

    ``planned``: names and shapes of the tensors of each file, by its name without suffix; "model" is a whole model.
    """

    planned: dict[str, structure.Shapes] = field(default_factory=dict)

    @property
    def is_projectors_only(self) -> bool:
        return IMAGE_PROJECTOR_FILE in self.planned

    def weights_file(self, stem: str) -> Path | None:
        return self.folder / f"{stem}.bin" if stem in self.planned else None

    def tensors(self, path: Path) -> structure.Shapes:
        return self.planned[path.stem]

    def projector_weights(self) -> dict[str, torch.Tensor]:
        """No weights, but the check that loading would make of them."""
        expected = structure.prior_projector(self.config)
        found = {
            name.split(f"{PROJECTOR_NAME}.", 1)[1]: shape
            for stem in (PROJECTOR_FILE, NON_LORA)
            for name, shape in self.planned.get(stem, {}).items()
            if f"{PROJECTOR_NAME}." in name
        }
        if found != expected:
            raise CheckpointError(f"its prior projector would be {found}, and its config asks for {expected}")
        return {}

    def _image_projector_file(self) -> Path:
        return self.folder / f"{IMAGE_PROJECTOR_FILE}.bin"

    def _check_whole(self) -> None:
        if self.family in ("llama", "mistral"):
            self._check_language_model(self.planned["model"])


def check_loadable(model: Any, args: Any) -> None:
    """Raise UserError where the checkpoints of a run that is about to start would not load.

    ``model``: as it will be trained, LoRA and projectors in place; ``args``: the training arguments.
    """
    try:
        planned = plan(model, args)
        planned.check_weights()
        if planned.needs_base:
            if planned.is_emola:
                planned.projector_weights()
            planned.checked_base(None, download=False, cache_dir=args.cache_dir)
    except CheckpointError as error:
        hint = _NEW_TOKENS if "vocab_size" in str(error) or "embed_tokens" in str(error) else ""
        raise UserError(
            f"what this run would write to {args.output_dir} could not be loaded again, so nothing was trained: "
            f"{error}{hint}"
        ) from error


def plan(model: Any, args: Any) -> PlannedCheckpoint:
    """The checkpoint that a run would write. Raises CheckpointError for a config that loading refuses."""
    folder = Path(args.output_dir)
    written = json.loads(model.config.to_json_string())
    config = families.model_config(written, folder / "config.json")
    shapes = {name: _shape(value) for name, value in model.named_parameters()}
    if args.lora_enable:
        trained = {name for name, value in model.named_parameters() if value.requires_grad}
        kept = (PROJECTOR_NAME, IMAGE_PROJECTOR_FILE) if any(PROJECTOR_NAME in name for name in shapes) else ()
        files = {
            ADAPTER_WEIGHTS: {name.replace(".default", ""): shapes[name] for name in shapes if "lora_" in name},
            NON_LORA: {
                name: shape
                for name, shape in shapes.items()
                if "lora_" not in name and (name in trained or any(part in name for part in kept))
            },
        }
        settings = json.loads(json.dumps(model.peft_config["default"].to_dict(), default=_plain))
        lora = adapter.adapter_config(settings, folder / "adapter_config.json")
        return PlannedCheckpoint(folder, config, lora, planned=files)
    if args.tune_mm_mlp_adapter:
        parts = [IMAGE_PROJECTOR_FILE, *(["embed_tokens"] if getattr(args, "use_im_start_end", False) else [])]
        files = {
            IMAGE_PROJECTOR_FILE: {n: shape for n, shape in shapes.items() if any(part in n for part in parts)},
            PROJECTOR_FILE: {n: shape for n, shape in shapes.items() if PROJECTOR_NAME in n},
        }
        return PlannedCheckpoint(folder, config, None, planned={k: v for k, v in files.items() if v})
    return PlannedCheckpoint(folder, config, None, planned={"model": shapes})


def _shape(parameter: Any) -> structure.Shape:
    """A parameter's shape, also of one that ZeRO-3 has shared out among processes."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, (set, frozenset)) else getattr(value, "value", str(value))
