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

from faba_bench.chat.replies import NoAnswer, parse_reply
from faba_bench.files.jsonfiles import parse_json
from faba_bench.files.oserrors import naming
from faba_bench.files.paths import regular_file

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
        data = regular_file(self.path, error=UserError).read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        self._whole = len(whole)
        lines = []
        for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
            where = f"{self.path}, line {number}"
            try:
                value = parse_json(line, "it", error=ValueError)
                if not isinstance(value, dict) or not {"status", "key"} <= set(value):
                    raise ValueError("it has no 'status' or no 'key'")
                if value["status"] == ANSWER and not isinstance(value.get("text", ""), str):
                    raise ValueError("its 'text' is no text")
            except ValueError as error:
                raise UserError(f"{where} is damaged ({error}): move the file away") from error
            lines.append(value)
        return lines

    def append(self, line: dict[str, Any]) -> None:
        """Durable when this returns."""
        # Half characters (of a file's name, of a server) become JSON's own escapes, which no file system minds.
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        with self._lock:
            with naming(self.path), self.path.open("ab") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            self.lines.append(line)

    def answers(self) -> dict[str, dict[str, Any]]:
        """The newest usable reply by request key.

        A reply that an earlier version could not read (a list of parts, say) was kept with its body and paid for; it is
        read now.
        """
        found = {line["key"]: {"text": "", **line} for line in self.lines if line["status"] == ANSWER}
        for line in self.lines:
            if line["status"] != INVALID or line["key"] in found or not isinstance(line.get("body"), str):
                continue
            try:
                reply = parse_reply(line["body"])
            except NoAnswer:
                continue
            if reply.text:
                found[line["key"]] = {**line, "text": reply.text, "finish_reason": reply.finish_reason}
        return found
