"""Where the vision tower lies that a config names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from llava_faba.model.handing_over import find_tower, tower_name


def resolve_vision_tower(config: Any, *folders: str | os.PathLike[str] | None) -> None:
    """Make ``config.mm_vision_tower`` an existing path when it is a local one, in place.

    Where it is looked for, and what is raised: ``handing_over.find_tower``. Names on the hub stay names.
    """
    tower = getattr(config, "mm_vision_tower", None)
    if not tower:
        return
    found = find_tower(tower, *(None if folder is None else Path(folder) for folder in folders))
    config.mm_vision_tower = tower_name(tower, found)
