"""A step's log: what this start of the step has said, and not what an earlier run left in the file."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_LOOKED_THROUGH = 1 << 20  # bytes from the end, in which the mark of a start is looked for


def marker(nonce: str) -> str:
    """The line behind which stands what the start of this nonce says."""
    return f"# started as {nonce}"


class Log:
    """The log of one start of a step. ``path``: the file, which may hold earlier starts, or not be there yet."""

    def __init__(self, path: Path, nonce: str) -> None:
        self.path, self._mark = path, (marker(nonce) + "\n").encode()
        self._begin: int | None = None

    def end(self, limit: int) -> str | None:
        """The last ``limit`` bytes of what this start has said, as text; None while it has said nothing."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                if self._begin is None or self._begin > size:
                    self._begin = self._find(file, size)
                if self._begin is None:
                    return None
                file.seek(max(self._begin, size - limit))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return None

    def _find(self, file: BinaryIO, size: int) -> int | None:
        start = max(0, size - _LOOKED_THROUGH)
        file.seek(start)
        place = file.read().rfind(self._mark)
        return None if place < 0 else start + place + len(self._mark)
