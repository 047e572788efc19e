"""Files of weights that users bring: where they may lie, and whether it is the one that made the priors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from faba_bench.files.digests import sha256_file

from llava_faba.errors import ExpertError


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights, which lies where a setting names it, else where an environment variable does, else in one of
    the known places.

    ``expert``, ``setting``: for messages; ``named``: the setting's value; ``sha256``: what the file must be, if that
    is known; ``how_to_get``: a sentence.
    """

    expert: str
    setting: str
    named: str | None
    sha256: str | None
    variable: str
    places: Callable[[], Iterable[Path]]
    how_to_get: str

    def find(self) -> Path | None:
        """The file, or None when there is none.

        A checkpoint or a store made elsewhere names a path that may not exist here; where its ``sha256`` is known the
        other places are searched as well. Raises ExpertError when a named file does not exist, or when the file is
        another one than ``sha256`` says.
        """
        from_environment = os.environ.get(self.variable)
        if self.named and not self.sha256 and not Path(self.named).expanduser().is_file():
            raise ExpertError(
                f"facial prior expert '{self.expert}': its setting '{self.setting}' names no file: {self.named}"
            )
        if from_environment and not Path(from_environment).is_file():
            raise ExpertError(f"facial prior expert '{self.expert}': {self.variable} names no file: {from_environment}")
        candidates = [Path(one).expanduser() for one in (self.named, from_environment) if one]
        found = next((path for path in (*candidates, *self.places()) if path.is_file()), None)
        if found and self.sha256 and sha256_of(found) != self.sha256:
            raise ExpertError(
                f"facial prior expert '{self.expert}': {found} is not the file that made the priors (its SHA-256 is "
                f"{sha256_of(found)}, not {self.sha256}); name the right one in {self.variable}."
            )
        return found

    @cached_property
    def path(self) -> Path:
        """The file. Raises ExpertError when there is none, and as ``find``."""
        found = self.find()
        if found is None:
            raise ExpertError(self.absent)
        return found

    @property
    def missing(self) -> str | None:
        """Why there is no usable file and what to do about it, or None."""
        try:
            return None if self.find() else self.absent
        except ExpertError as error:
            return str(error)

    @property
    def absent(self) -> str:
        """That there is no file, and what to do."""
        return (
            f"facial prior expert '{self.expert}' has no weights: name the file in its setting '{self.setting}' "
            f"(--set {self.setting}=PATH) or in the environment variable {self.variable}. {self.how_to_get}"
        )

    @property
    def settings(self) -> dict[str, str]:
        """The file's checksum, which says what made the priors, and where it was if that was named."""
        found = None if self.sha256 else self.find()
        checksum = self.sha256 or (sha256_of(found) if found else None)
        settings = {} if checksum is None else {f"{self.setting}_sha256": checksum}
        return settings | ({self.setting: self.named} if self.named else {})


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    status = path.stat()
    return _sha256(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)
def _sha256(path: str, size: int, modified: int) -> str:
    return sha256_file(path)
