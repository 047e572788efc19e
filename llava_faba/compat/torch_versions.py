"""What torch 2.0 to 2.2 lack of what newer releases have. LLaVA's wheel pins 2.0.1, its git tree 2.1.2.

Each function asks for the thing itself, never for a version number.
"""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import Any

import torch


def load_pickled(path: Path, *, mapped: bool) -> Any:
    """What a .bin or .pt file holds, on the CPU, of a pickle that may hold tensors only.

    ``mapped``: leave the tensors on the disk until they are used, where this torch can: 2.0 knows no ``mmap``, 2.1 and
    2.2 want the path as a string, and the legacy format cannot be mapped at all.
    """
    options = {"mmap": True} if mapped and _knows_mmap() else {}
    return torch.load(str(path), map_location="cpu", weights_only=True, **options)


@functools.cache
def _knows_mmap() -> bool:
    return "mmap" in inspect.signature(torch.load).parameters


def is_distributed_error(error: BaseException) -> bool:
    """Whether torch itself says that this is an error of its communication; before 2.2 it never does."""
    kind = getattr(torch.distributed, "DistError", None) if torch.distributed.is_available() else None
    return kind is not None and isinstance(error, kind)
