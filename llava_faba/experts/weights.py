"""Files of weights that users bring: where they may lie, and whether it is the one that made the priors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from llava_faba.errors import ExpertError


def find_weights(
    expert: str,
    *,
    setting: str,
    named: str | None,
    sha256: str | None,
    variable: str,
    places: Iterable[Path],
    how_to_get: str,
) -> Path:
    """The file of weights for ``expert``: what its setting names, then the environment variable, then known places.

    A checkpoint or a store made elsewhere carries a path that may not exist here; with ``sha256`` the other places
    are searched as well. Raises ExpertError when there is none, or when it is another file than the one that made
    the priors.
    """
    if named and not sha256 and not Path(named).expanduser().is_file():
        raise ExpertError(f"facial prior expert '{expert}': its setting '{setting}' names no file: {named}")
    from_environment = os.environ.get(variable)
    if from_environment and not Path(from_environment).is_file():
        raise ExpertError(f"facial prior expert '{expert}': {variable} names no file: {from_environment}")
    candidates = [Path(one).expanduser() for one in (named, from_environment) if one]
    candidates += list(places)
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise ExpertError(
            f"facial prior expert '{expert}' has no weights: name the file in its setting '{setting}' "
            f"(--set {setting}=PATH) or in the environment variable {variable}. {how_to_get}"
        )
    if sha256 and sha256_of(found) != sha256:
        raise ExpertError(
            f"facial prior expert '{expert}': {found} is not the file that made the priors (its SHA-256 is "
            f"{sha256_of(found)}, not {sha256}); name the right one in {variable}."
        )
    return found


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    status = path.stat()
    return _sha256(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)
def _sha256(path: str, size: int, modified: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:  # noqa: PTH123 - the name is a cache key
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
