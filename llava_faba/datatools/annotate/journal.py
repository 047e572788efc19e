"""Every raw answer, kept: an append-only file of JSON lines, synced to disk line by line."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from llava_faba.errors import UserError

ANSWER, INVALID, FAILED = "answer", "invalid", "failed"
"""Status of a line: a usable reply, something else that a server sent, or the last word on an image without
one.
"""


class Journal:
    """Lines of one output folder. A last line that a crash cut short is dropped when the file is opened
    again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lines = self._load()

    def _load(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with self.path.open("r+b") as stream:
                stream.truncate(len(whole))
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
