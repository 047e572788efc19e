"""Priors in .npy files, as FABA-Instruct ships them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from faba_bench.files.arrays import read_vector

from llava_faba.errors import PriorError


def read_npy_prior(path: Path, size: int | None = None) -> np.ndarray:
    """A prior from a .npy file: one vector, or points in rows, as float32 (size,).

    Raises PriorError when the file is missing, broken, not numeric, not finite, or of another size or shape.
    """
    if not path.exists():
        raise PriorError(f"{path}: this facial prior does not exist.")
    return read_vector(path, size, error=PriorError)
