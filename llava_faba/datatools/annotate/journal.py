"""Every raw answer, kept: an append-only file of JSON lines, synced to disk line by line."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llava_faba.errors import UserError

ANSWER, INVALID, FAILED = "answer", "invalid", "failed"
"""Status of a line: a usable reply, something else that a server sent, or the last word on an image without
one.
"""


class Journal:
    """Lines of one output folder. A last line that a crash cut short is not read, and cut off by the next run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._whole = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lines = self._load()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One run at a time: two would pay for every answer twice. Raises ``UserError`` when another one is at it.

        The system gives the lock back when a process ends, however it ends.
        """
        with self.path.open("ab") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another run is annotating into {self.path.parent}: wait for it or stop it") from None
            self.lines = self._load()
            os.truncate(self.path, self._whole)
            yield

    def _load(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        self._whole = len(whole)
        lines = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                lines.append(json.loads(line))
            except ValueError as error:
                raise UserError(f"{self.path}, line {number} is damaged ({error}): move the file away") from error
        return lines

    def append(self, line: dict[str, Any]) -> None:
        """Durable when this returns."""
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode()
        with self._lock:
            with self.path.open("ab") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            self.lines.append(line)

    def answers(self) -> dict[str, dict[str, Any]]:
        """The newest usable reply by request key."""
        return {line["key"]: line for line in self.lines if line["status"] == ANSWER}
