"""Where the vision tower lies that a config names, and what class it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from faba_bench.files.jsonfiles import read_object

from llava_faba.compat.engine import replaced
from llava_faba.errors import CheckpointError
from llava_faba.model.handing_over import find_tower, tower_name
from llava_faba.vetting.families import DINO_TYPE


def resolve_vision_tower(config: Any, *folders: str | os.PathLike[str] | None) -> None:
    """Make ``config.mm_vision_tower`` an existing path when it is a local one, in place.

    Where it is looked for, and what is raised: ``handing_over.find_tower``. Names on the hub stay names.
    """
    tower = getattr(config, "mm_vision_tower", None)
    if not tower:
        return
    found = find_tower(tower, *(None if folder is None else Path(folder) for folder in folders))
    config.mm_vision_tower = tower_name(tower, found)


def tower_of_its_family(original: Any) -> Callable[..., Any]:
    """What builds a tower in place of LLaVA's CLIPVisionTower: that class itself, or for a DINOv2 one like it."""

    if original.__module__ == __name__:
        return original

    def build(vision_tower: str, args: Any, delay_load: bool = False) -> Any:
        chosen = _dinov2_tower(original) if _family(vision_tower) == DINO_TYPE else original
        return chosen(vision_tower, args=args, delay_load=delay_load)

    return build


@contextlib.contextmanager
def towers_of_all_families() -> Iterator[None]:
    """While inside, LLaVA builds what the seam has it build, also in a process that has not called ``register()``."""
    from llava.model.multimodal_encoder import builder

    with replaced(builder, "CLIPVisionTower", tower_of_its_family(builder.CLIPVisionTower)):
        yield


def _family(name: str) -> str | None:
    """The model type of a local folder; a name on the hub is CLIP's, as LLaVA takes it."""
    config = Path(name) / "config.json"
    return read_object(config, error=CheckpointError).get("model_type") if config.is_file() else None


def _dinov2_tower(original: Any) -> Any:
    """A vision tower that differs from LLaVA's in what it loads: its hidden states have the same form, [CLS] first."""
    from torch import nn
    from transformers import CLIPImageProcessor, Dinov2Config, Dinov2Model

    from llava_faba.compat.precision import takes_type_from_files, typed_unless_told

    class Dinov2VisionTower(original):
        def __init__(self, vision_tower: str, args: Any, delay_load: bool = False) -> None:
            nn.Module.__init__(self)
            self.is_loaded = False
            self.vision_tower_name = vision_tower
            self.select_layer = args.mm_vision_select_layer
            self.select_feature = getattr(args, "mm_vision_select_feature", "patch")
            if delay_load and not getattr(args, "unfreeze_mm_vision_tower", False):
                self.cfg_only = Dinov2Config.from_pretrained(vision_tower)
            else:
                self.load_model()

        def load_model(self, device_map: Any = None) -> None:
            if self.is_loaded:
                return
            dtype = typed_unless_told({}, "float32") if takes_type_from_files() else {}
            self.image_processor = CLIPImageProcessor.from_pretrained(self.vision_tower_name)
            self.vision_tower = Dinov2Model.from_pretrained(self.vision_tower_name, device_map=device_map, **dtype)
            self.vision_tower.requires_grad_(False)
            self.is_loaded = True

    return Dinov2VisionTower
