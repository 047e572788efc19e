"""Where a record's prior comes from: a store made by ``priors extract``, or the record's own .npy file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from faba_bench.files.paths import inside

from llava_faba.errors import PriorError
from llava_faba.priors.npy import read_npy_prior
from llava_faba.priors.store import PriorStore


class PriorSource(Protocol):
    """Priors of records. ``size`` is None as long as no record has one."""

    size: int | None

    def get(self, record: Mapping[str, Any]) -> np.ndarray | None:
        """The record's prior, float32 (size,), or None when it has none. Raises PriorError for a broken one."""


class StoredPriors:
    """Priors from a store, by the record's image path. A record with an image must be in the store."""

    def __init__(self, store: PriorStore) -> None:
        self.store = store
        self.size: int | None = store.size

    def get(self, record: Mapping[str, Any]) -> np.ndarray | None:
        return self.store.get(record["image"]) if "image" in record else None


class NumpyPriors:
    """Priors from the .npy files that records name under "landmark", relative to the image folder and inside it, after
    links, unless ``allow_outside``."""

    def __init__(
        self, image_folder: Path, records: Iterable[Mapping[str, Any]], *, allow_outside: bool = False
    ) -> None:
        self._folder, self._allow_outside = image_folder, allow_outside
        self.size: int | None = None
        for record in records:
            with contextlib.suppress(PriorError):  # a broken file is found again, and reported, with the others
                prior = self.get(record)
                if prior is not None:
                    self.size = len(prior)
                    break

    def get(self, record: Mapping[str, Any]) -> np.ndarray | None:
        name = record.get("landmark")
        if not name:
            return None
        if not isinstance(name, str):
            raise PriorError(f"'landmark' is not a path but {type(name).__name__}.")
        path = inside(self._folder, name, allow_outside=self._allow_outside, error=PriorError)
        return read_npy_prior(path, self.size)
